//! A mail server in this process, for tests.

use std::sync::{Arc, Mutex};

use clearway_config::settings::MailSettings;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::Outbox;

/// What it has been handed, and what it says to the next mails before it takes one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Smtp {
    pub(crate) taken: Arc<Mutex<Vec<String>>>,
    pub(crate) refusals: Arc<Mutex<Vec<&'static str>>>,
}

impl Smtp {
    pub(crate) async fn start(&self) -> Outbox {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let smtp_url = format!("smtp://{}", listener.local_addr().unwrap());
        let smtp = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(smtp.clone().serve(stream));
            }
        });
        let settings = MailSettings { smtp_url, from: "Clearway <no-reply@example.com>".into(), ..MailSettings::default() };
        Outbox::new(&settings, None).unwrap()
    }

    pub(crate) fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    async fn serve(self, stream: TcpStream) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test\r\n").await.unwrap();
        let mut message: Option<String> = None;
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(text) = &mut message {
                if line != "." {
                    text.push_str(&format!("{line}\n"));
                    continue;
                }
                self.taken.lock().unwrap().push(message.take().unwrap());
            }
            let word = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            let refusal = if word == "MAIL" { self.refusals.lock().unwrap().pop() } else { None };
            let answer = match (refusal, word.as_str()) {
                (Some(refusal), _) => refusal,
                (None, "EHLO") => "250 test",
                (None, "DATA") => {
                    message = Some(String::new());
                    "354 go on"
                }
                (None, _) => "250 fine",
            };
            if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
