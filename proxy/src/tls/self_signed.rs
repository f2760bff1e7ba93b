//! A certificate for this machine alone, so that encryption can be tried out without an authority.

use std::{fs, io, path::Path, sync::Arc};

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::certificate::Certificate;
use crate::data_dir::write_private;

/// What it speaks for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long it is valid, and how long before its end a start makes a new one.
const LIFE_DAYS: i64 = 365;
const RENEWED_BEFORE_S: i64 = 30 * 86_400;

/// The certificate in `dir`, made where there is none or it is about to run out. Only the owner can read its key.
pub(crate) fn open(dir: &Path, now_s: i64) -> io::Result<Arc<Certificate>> {
    let (cert_file, key_file) = (dir.join("localhost.pem"), dir.join("localhost.key"));
    if let (Ok(chain), Ok(key)) = (fs::read(&cert_file), fs::read(&key_file))
        && let Ok(certificate) = Certificate::from_pem(&chain, &key)
        && certificate.check_time(now_s + RENEWED_BEFORE_S).is_ok()
    {
        return Ok(Arc::new(certificate));
    }
    let (chain, key) = make(now_s).map_err(io::Error::other)?;
    fs::create_dir_all(dir)?;
    write_private(&key_file, key.as_bytes())?;
    write_private(&cert_file, chain.as_bytes())?;
    Certificate::from_pem(chain.as_bytes(), key.as_bytes()).map(Arc::new).map_err(io::Error::other)
}

fn make(now_s: i64) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "Clearway on this machine");
    let date = |s| {
        let day = jiff::Timestamp::from_second(s).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
        date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (date(now_s - 86_400), date(now_s + LIFE_DAYS * 86_400));
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_kept_private_and_made_again_before_it_runs_out() {
        let dir = tempfile::tempdir().unwrap();
        let now_s = crate::gateway::now_s();
        let first = open(dir.path(), now_s).unwrap();
        assert!(first.covers("localhost") && first.covers("127.0.0.1") && first.covers("[::1]"));
        assert!(first.check_time(now_s).is_ok());
        let mode = fs::metadata(dir.path().join("localhost.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(open(dir.path(), now_s).unwrap().not_after_s(), first.not_after_s());
        let later = now_s + (LIFE_DAYS - 20) * 86_400;
        assert!(open(dir.path(), later).unwrap().not_after_s() > first.not_after_s());
    }
}
