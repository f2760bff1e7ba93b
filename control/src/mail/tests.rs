//! Against a mail server in this process, on both engines.

use clearway_config::settings::MailSettings;

use super::{testing::Smtp, *};
use crate::{
    db::{
        Db,
        testing::{TestDb, on_both},
    },
    metrics::Metrics,
};

const NOW: i64 = 1_795_132_800_000;

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
async fn without_a_mail_server_mails_stay_in_the_mailbox_for_a_while() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let outbox = Outbox::new(&MailSettings::default(), None).unwrap();
        let kept = async || db.query("SELECT count(*) FROM mailbox").scalar::<i64>().await.unwrap();
        for n in 0..502 {
            send(&outbox, &db, &world, &n.to_string()).await;
        }
        assert_eq!((waiting(&db).await, kept().await), (0, 500), "the oldest make room");
        assert_eq!(deliver_once(&outbox, &db, &world, &Metrics::new()).await.unwrap(), 0);
        world.advance(7 * 24 * 60 * 60 * 1_000 + 1);
        send(&outbox, &db, &world, "later").await;
        assert_eq!(sweep(&db, world.now_ms()).await.unwrap(), 499);
        assert_eq!(kept().await, 1);
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
