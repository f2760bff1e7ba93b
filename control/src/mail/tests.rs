//! Against a mail server in this process, on both engines.

use std::sync::{Arc, Mutex};

use clearway_config::settings::MailSettings;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    db::{
        Db,
        testing::{TestDb, on_both},
    },
    metrics::Metrics,
};

const NOW: i64 = 1_795_132_800_000;

/// What it has been handed, and what it says to the next mails before it takes one.
#[derive(Debug, Clone, Default)]
struct Smtp {
    taken: Arc<Mutex<Vec<String>>>,
    refusals: Arc<Mutex<Vec<&'static str>>>,
}

impl Smtp {
    async fn start(&self) -> Outbox {
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

    fn count(&self) -> usize {
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

fn mail(subject: &str) -> Mail {
    Mail { to: "owner@example.com".into(), subject: subject.into(), body: "Dear customer,\n.\nnothing reaches it.\n".into() }
}

async fn send(outbox: &Outbox, db: &Db, world: &World, subject: &str) {
    let mut tx = db.begin().await.unwrap();
    outbox.send(&mut tx, world, &mail(subject)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn waiting(db: &Db) -> i64 {
    db.query("SELECT count(*) FROM mails").scalar().await.unwrap()
}

#[tokio::test]
async fn a_mail_goes_out_once_after_its_commit() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let (smtp, world, metrics) = (Smtp::default(), World::fixed(NOW, 1), Metrics::new());
        let outbox = smtp.start().await;
        let mut tx = db.begin().await.unwrap();
        outbox.send(&mut tx, &world, &mail("lost")).await.unwrap();
        drop(tx);
        send(&outbox, &db, &world, "A webhook\r\nBcc: everyone@example.com").await;
        assert_eq!(deliver_once(&outbox, &db, &world, &metrics).await.unwrap(), 1);
        assert_eq!(deliver_once(&outbox, &db, &world, &metrics).await.unwrap(), 0);
        let taken = smtp.taken.lock().unwrap().clone();
        assert_eq!((taken.len(), waiting(&db).await), (1, 0));
        assert!(taken[0].contains("To: owner@example.com"), "{}", taken[0]);
        assert!(taken[0].contains("Subject: A webhook  Bcc: everyone@example.com"), "{}", taken[0]);
        assert!(taken[0].contains("nothing reaches it."), "{}", taken[0]);
        assert!(taken[0].contains("Message-ID: <mail_"), "{}", taken[0]);
    })
    .await;
}

#[tokio::test]
async fn a_mail_is_tried_again_later_and_given_up_where_the_server_never_takes_it() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let (smtp, world, metrics) = (Smtp::default(), World::fixed(NOW, 1), Metrics::new());
        let outbox = smtp.start().await;
        smtp.refusals.lock().unwrap().extend(["451 try later", "451 try later"]);
        send(&outbox, &db, &world, "first").await;
        assert_eq!(deliver_once(&outbox, &db, &world, &metrics).await.unwrap(), 1);
        world.advance(29_999);
        assert_eq!(deliver_once(&outbox, &db, &world, &metrics).await.unwrap(), 0, "not before its time");
        world.advance(1);
        assert_eq!(deliver_once(&outbox, &db, &world, &metrics).await.unwrap(), 1);
        world.advance(60_000);
        assert_eq!(deliver_once(&outbox, &db, &world, &metrics).await.unwrap(), 1);
        assert_eq!((smtp.count(), waiting(&db).await), (1, 0));

        smtp.refusals.lock().unwrap().push("550 no such person");
        send(&outbox, &db, &world, "second").await;
        assert_eq!(deliver_once(&outbox, &db, &world, &metrics).await.unwrap(), 1);
        assert_eq!((smtp.count(), waiting(&db).await), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn without_a_mail_server_nothing_is_stored() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let outbox = Outbox::new(&MailSettings::default(), None).unwrap();
        send(&outbox, &db, &world, "first").await;
        assert_eq!(waiting(&db).await, 0);
        assert_eq!(deliver_once(&outbox, &db, &world, &Metrics::new()).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_without_showing_a_password() {
    let with =
        |smtp_url: &str, from: &str| MailSettings { smtp_url: smtp_url.into(), from: from.into(), ..MailSettings::default() };
    let good = "Clearway <no-reply@example.com>";
    for (settings, password) in [
        (with("http://user:secret@example.com", good), None),
        (with("smtps://user:secret@example.com", "nobody"), None),
        (with("smtps://example.com", good), Some("secret")),
    ] {
        let said = Outbox::new(&settings, password).unwrap_err().to_string();
        assert!(said.starts_with("mail.") && !said.contains("secret"), "{said}");
    }
    let settings = MailSettings { user: "user".into(), ..with("smtps://example.com", good) };
    assert!(Outbox::new(&settings, Some("secret")).is_ok());
}
