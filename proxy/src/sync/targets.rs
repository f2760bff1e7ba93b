//! Which control process a proxy is attached to, of several over one database.
//!
//! Each proxy has an order of its own, so that a fleet spreads, and what one leaves behind when it dies spreads over
//! the others. It takes them in turn until one answers, and pauses only when none of them has. One that was found
//! elsewhere goes back to its first choice after a while: else a process that was restarted would stay without proxies.

use std::time::Duration;

use clearway_config::ProxyId;

/// At random between one and two of these.
const RETURN_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Targets {
    /// In this proxy's order; never empty.
    urls: Vec<String>,
    at: usize,
    /// How many in a row have come to nothing.
    failed: usize,
    return_after: Duration,
}

impl Targets {
    pub(crate) fn new(urls: &[String], proxy: &ProxyId) -> Self {
        let mut urls = urls.to_vec();
        urls.sort_by_cached_key(|url| weight(url, proxy));
        Self { urls, at: 0, failed: 0, return_after: RETURN_AFTER.mul_f64(1.0 + rand::random::<f64>()) }
    }

    pub(crate) fn current(&self) -> &str {
        self.urls.get(self.at).map_or("", String::as_str)
    }

    pub(crate) fn are_several(&self) -> bool {
        self.urls.len() > 1
    }

    /// After the current one broke, having stood for a while or not: goes to the next. False: all have been tried, so
    /// that it is time for a pause.
    pub(crate) fn next(&mut self, stood: bool) -> bool {
        self.failed = if stood { 1 } else { self.failed + 1 };
        self.at = (self.at + 1) % self.urls.len().max(1);
        if self.failed < self.urls.len() {
            return true;
        }
        self.failed = 0;
        false
    }

    /// Ends when it is time to try the first choice again; never where that is the current one.
    pub(crate) async fn time_to_return(&self) {
        if self.at == 0 {
            std::future::pending::<()>().await;
        } else {
            tokio::time::sleep(self.return_after).await;
        }
    }

    pub(crate) fn go_home(&mut self) {
        (self.at, self.failed) = (0, 0);
    }
}

/// Of one address for one proxy: the address with the least is its first choice (rendezvous hashing). FNV-1a, its bits
/// mixed, which is the same in every version.
fn weight(url: &str, proxy: &ProxyId) -> u64 {
    let bytes = url.bytes().chain(proxy.to_vec());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn urls(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("http://control-{n}:9001")).collect()
    }

    fn proxies() -> impl Iterator<Item = ProxyId> {
        (0..1_000_u128).map(|n| ProxyId::from_bytes(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_1234_5678_9abc_def1).to_be_bytes()))
    }

    #[test]
    fn a_fleet_spreads_and_so_do_those_whose_choice_has_died() {
        let mut chosen = BTreeMap::<(String, String), usize>::new();
        for proxy in proxies() {
            let mut targets = Targets::new(&urls(3), &proxy);
            let first = targets.current().to_owned();
            assert!(targets.next(true));
            *chosen.entry((first, targets.current().to_owned())).or_default() += 1;
        }
        assert_eq!(chosen.len(), 6);
        assert!(chosen.values().all(|count| (100..240).contains(count)), "{chosen:?}");
    }

    #[test]
    fn one_more_control_process_moves_only_those_that_choose_it() {
        for proxy in proxies() {
            let (before, after) = (Targets::new(&urls(3), &proxy), Targets::new(&urls(4), &proxy));
            assert!(after.current() == before.current() || after.current().contains("control-3"));
        }
    }

    #[test]
    fn all_are_tried_before_there_is_a_pause() {
        let mut targets = Targets::new(&urls(3), &ProxyId::from_bytes([1; 16]));
        let first = targets.current().to_owned();
        assert_eq!([(); 6].map(|()| targets.next(false)), [true, true, false, true, true, false]);
        assert_eq!(targets.current(), first);
        // One that stood and broke is the first that has failed, however many did before it was found.
        assert!(targets.next(false));
        assert_eq!([true, false, false].map(|stood| targets.next(stood)), [true, true, false]);
        let mut only = Targets::new(&urls(1), &ProxyId::from_bytes([1; 16]));
        assert_eq!([true, false].map(|stood| only.next(stood)), [false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_back_to_its_own_choice_after_a_while() {
        let mut targets = Targets::new(&urls(2), &ProxyId::from_bytes([1; 16]));
        let first = targets.current().to_owned();
        assert!(tokio::time::timeout(RETURN_AFTER * 10, targets.time_to_return()).await.is_err(), "it is there");
        targets.next(true);
        assert!(tokio::time::timeout(RETURN_AFTER * 2, targets.time_to_return()).await.is_ok());
        targets.go_home();
        assert_eq!(targets.current(), first);
    }
}
