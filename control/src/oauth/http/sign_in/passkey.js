// Signs in by a passkey: asks for a challenge, has the browser answer it, and sends the answer by the form. Without this the
// page works by password and code.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

const form = document.getElementById("passkey");
const { ticket, passkey } = form.elements;
const button = form.querySelector("button");
const wrong = form.querySelector(".wrong");

async function challenge() {
  const answer = await fetch(form.dataset.ask, {
    method: "POST",
    credentials: "omit",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(ticket ? { ticket: ticket.value } : {}),
  });
  const { data, error } = await answer.json();
  if (!answer.ok) throw new Error(error.message);
  const allowCredentials = data.allowCredentials.map((one) => ({ ...one, id: bytes(one.id) }));
  return { ...data, challenge: bytes(data.challenge), allowCredentials };
}

function written({ id, rawId, type, response }) {
  const { clientDataJSON, authenticatorData, signature, userHandle } = response;
  return JSON.stringify({
    id,
    rawId: text(rawId),
    type,
    response: {
      clientDataJSON: text(clientDataJSON),
      authenticatorData: text(authenticatorData),
      signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
    },
  });
}

async function show(event) {
  event.preventDefault();
  button.disabled = true;
  wrong.textContent = "";
  try {
    passkey.value = written(await navigator.credentials.get({ publicKey: await challenge() }));
    form.submit();
  } catch (error) {
    // Browsers do not say whether there was none, or the person did not want to.
    const refused = error instanceof DOMException;
    wrong.textContent = refused ? "No passkey was shown. Try again, or sign in otherwise." : error.message;
    button.disabled = false;
  }
}

if (window.PublicKeyCredential) {
  form.addEventListener("submit", show);
  form.hidden = false;
}
