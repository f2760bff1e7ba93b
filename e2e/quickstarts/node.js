const { vectors } = JSON.parse(require("node:fs").readFileSync(process.argv[2], "utf8"));
for (const v of vectors) console.log(verify(Buffer.from(v.body), v.headers, v.secrets, v.now));
