use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::db::testing::{TestDb, on_both};

const HERE: Purpose = Purpose("things.secret");

fn given(byte: u8) -> Master {
    Master::Given(SealingKey::new([byte; 32]).reveal())
}

fn world() -> World {
    World::fixed(1_795_132_800_000, 1)
}

#[tokio::test]
async fn a_sealed_secret_opens_for_its_own_row_and_purpose_after_every_start() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let secrets = Secrets::load(&db, &world(), &given(1)).await.unwrap();
        let sealed = secrets.seal(HERE, "thing_1", b"plain");
        assert!(!sealed.windows(5).any(|bytes| bytes == b"plain"));
        let again = Secrets::load(&db, &World::fixed(0, 2), &given(1)).await.unwrap();
        assert_eq!(*again.open(HERE, "thing_1", &sealed).unwrap(), b"plain");
        assert_eq!(again.open(HERE, "thing_2", &sealed), Err(Unopened));
        assert_eq!(again.open(Purpose("things.other"), "thing_1", &sealed), Err(Unopened));
        for byte in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[byte] ^= 1;
            assert_eq!(again.open(HERE, "thing_1", &flipped), Err(Unopened), "byte {byte}");
        }
        assert_eq!(again.open(HERE, "thing_1", &[]), Err(Unopened));
        assert_ne!(secrets.seal(HERE, "thing_1", b"plain"), sealed, "no two sealings are alike");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_master_key_is_said_and_changes_nothing() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let sealed = Secrets::load(&db, &world(), &given(1)).await.unwrap().seal(HERE, "thing_1", b"plain");
        let refused = Secrets::load(&db, &world(), &given(2)).await.unwrap_err().to_string();
        assert!(refused.starts_with("master key is not the one") && refused.contains("CLEARWAY_MASTER_KEY"), "{refused}");
        let refused = rewrap(&db, &world(), &given(2), &given(3)).await.unwrap_err();
        assert!(matches!(refused, SecretsError::WrongMaster { .. }));
        let secrets = Secrets::load(&db, &world(), &given(1)).await.unwrap();
        assert_eq!(*secrets.open(HERE, "thing_1", &sealed).unwrap(), b"plain");
        let malformed = Master::Given("short".to_owned().into());
        let refused = Secrets::load(&db, &world(), &malformed).await.unwrap_err().to_string();
        assert_eq!(refused, "master key is malformed: CLEARWAY_MASTER_KEY: must be 32 bytes in base64");
    })
    .await;
}

#[tokio::test]
async fn after_a_rewrap_the_new_master_key_opens_and_the_old_one_does_not() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let running = Secrets::load(&db, &world(), &given(1)).await.unwrap();
        let sealed = running.seal(HERE, "thing_1", b"plain");
        assert_eq!(rewrap(&db, &world(), &given(1), &given(2)).await.unwrap(), 1);
        assert!(matches!(Secrets::load(&db, &world(), &given(1)).await, Err(SecretsError::WrongMaster { .. })));
        let restarted = Secrets::load(&db, &world(), &given(2)).await.unwrap();
        assert_eq!(*restarted.open(HERE, "thing_1", &sealed).unwrap(), b"plain");
        let meanwhile = running.seal(HERE, "thing_2", b"other");
        assert_eq!(*restarted.open(HERE, "thing_2", &meanwhile).unwrap(), b"other", "who ran on sealed no worse");
    })
    .await;
}

#[tokio::test]
async fn the_file_is_made_once_for_its_owner_alone_and_is_never_replaced() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let master = Master::File(path.clone());
        Secrets::load(&db, &World::system(), &master).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        Secrets::load(&db, &World::system(), &master).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::remove_file(&path).unwrap();
        let refused = Secrets::load(&db, &World::system(), &master).await.unwrap_err().to_string();
        assert!(refused.starts_with("master key is not here: ") && !path.exists(), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn processes_that_start_together_agree_on_one_data_key() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let (world, master) = (World::system(), given(1));
        let (one, other) = tokio::join!(Secrets::load(&db, &world, &master), Secrets::load(&db, &world, &master));
        let sealed = one.unwrap().seal(HERE, "thing_1", b"plain");
        assert_eq!(*other.unwrap().open(HERE, "thing_1", &sealed).unwrap(), b"plain");
    })
    .await;
}
