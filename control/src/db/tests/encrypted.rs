//! PostgreSQL over a network: who it is, and that nobody reads along.

use std::{fmt::Write as _, path::PathBuf, sync::OnceLock};

use clearway_testkit::Cluster;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::db::{Db, Location, OpenError, PerEngine};

const PASSWORD: &str = "correct-horse";

/// A server whose certificate says `db.internal`, and the authorities that clients may go by.
struct Stand {
    dir: TempDir,
    cluster: Cluster,
}

impl Stand {
    /// The one of this process: nothing is changed in it.
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Stand> = OnceLock::new();
        SHARED.get_or_init(|| Self::new("localhost"))
    }

    fn new(name: &str) -> Self {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let (ours, other) = (authority("ours"), authority("other"));
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ours.pem"), ours.pem()).unwrap();
        std::fs::write(dir.path().join("other.pem"), other.pem()).unwrap();
        let cluster = Cluster::encrypted(&certificate.pem(), &key.serialize_pem()).unwrap();
        cluster.sql(&format!("CREATE ROLE clearway LOGIN PASSWORD '{PASSWORD}'"));
        cluster.sql("CREATE DATABASE clearway OWNER clearway");
        Self { dir, cluster }
    }

    fn authority(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.pem"))
    }

    /// What a URL names, with a password.
    fn url(&self, host: &str, password: &str, mode: &str, authority: Option<&str>) -> String {
        let port = self.cluster.port().unwrap();
        let mut url = format!("postgres://clearway:{password}@{host}:{port}/clearway?sslmode={mode}");
        if let Some(authority) = authority {
            write!(url, "&sslrootcert={}", self.authority(authority).display()).unwrap();
        }
        url
    }

    /// Whether the connection is encrypted; or what is said of it, without the password.
    async fn tried(&self, host: &str, mode: &str, authority: Option<&str>) -> Result<bool, String> {
        tried(&self.url(host, PASSWORD, mode, authority)).await
    }
}

async fn tried(url: &str) -> Result<bool, String> {
    let location = Location::Postgres(url.to_owned());
    assert!(!format!("{location:?}").contains(PASSWORD), "a location does not show its password");
    match Db::open(&location, 1).await {
        Ok(db) => {
            let encrypted = db
                .query(PerEngine { sqlite: "SELECT FALSE", postgres: "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()" })
                .one::<(bool,)>()
                .await;
            db.close().await;
            Ok(encrypted.unwrap().0)
        }
        Err(error) => {
            for said in [error.to_string(), format!("{error:?}")] {
                assert!(!said.contains(PASSWORD) && !said.contains('\n'), "{said}");
            }
            Err(error.to_string())
        }
    }
}

#[tokio::test]
async fn verify_full_takes_the_authority_and_the_name_that_are_meant_and_no_others() {
    let stand = Stand::shared();
    assert_eq!(stand.tried("localhost", "verify-full", Some("ours")).await, Ok(true));
    for (host, authority) in [("localhost", Some("other")), ("localhost", None), ("127.0.0.1", Some("ours"))] {
        let said = stand.tried(host, "verify-full", authority).await.unwrap_err();
        assert!(said.starts_with("database unreachable: postgres://") && said.contains("certificate"), "{said}");
    }
    let said = stand.tried("localhost", "verify-full", Some("gone")).await.unwrap_err();
    assert!(said.starts_with("database unreachable: "), "{said}");
}

#[tokio::test]
async fn verify_ca_looks_at_the_authority_alone_and_require_does_where_one_is_named() {
    let stand = Stand::shared();
    for mode in ["verify-ca", "require"] {
        assert_eq!(stand.tried("127.0.0.1", mode, Some("ours")).await, Ok(true), "{mode}");
        let said = stand.tried("127.0.0.1", mode, Some("other")).await.unwrap_err();
        assert!(said.contains("certificate"), "{mode}: {said}");
    }
    assert!(stand.tried("127.0.0.1", "verify-ca", None).await.is_err(), "nobody vouches for it");
    assert_eq!(stand.tried("127.0.0.1", "require", None).await, Ok(true), "encrypted, to whoever answers");
    assert_eq!(stand.tried("127.0.0.1", "prefer", None).await, Ok(true));
    assert!(stand.tried("127.0.0.1", "disable", None).await.is_err(), "the server takes nobody who is not encrypted");
}

#[tokio::test]
async fn a_wrong_password_or_parameter_is_refused_in_a_line_that_does_not_show_it() {
    let stand = Stand::shared();
    let url = stand.url("localhost", "wrong-horse", "verify-full", Some("ours"));
    let said = tried(&url).await.unwrap_err();
    assert!(said.contains("password authentication failed") && !said.contains("wrong-horse"), "{said}");

    let misspelt = url.replace("sslmode", "ssl_mode").replace("wrong-horse", PASSWORD);
    assert!(tried(&misspelt).await.unwrap_err().ends_with("the URL's parameter ssl_mode is not known"));
    let secret = format!("postgres://clearway@localhost/clearway?pasword={PASSWORD}");
    assert!(tried(&secret).await.unwrap_err().ends_with("the URL's parameter pasword is not known"));
    let mode = format!("postgres://clearway:{PASSWORD}@localhost/clearway?sslmode=verify");
    let error = Db::open(&Location::Postgres(mode), 1).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }) && error.to_string().contains("verify"), "{error}");
}

#[tokio::test]
async fn a_server_without_encryption_is_used_only_where_that_is_allowed() {
    // Over its socket, which offers none.
    let url = Cluster::shared().create("not_encrypted");
    assert_eq!(tried(&url).await, Ok(false));
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = tried(&format!("{url}&sslmode={mode}")).await.unwrap_err();
        assert!(said.contains("does not support TLS"), "{mode}: {said}");
    }
}
