//! What is counted of TLS and its certificates.

use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};

use super::register;

#[derive(Debug)]
pub(crate) struct Encryption {
    certificate_days: GaugeVec,
    certificate_reloads: IntCounterVec,
    handshakes: IntCounterVec,
    orders: IntCounterVec,
}

impl Encryption {
    pub(super) fn new(registry: &Registry) -> Self {
        let counters = |name, help| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &["result"]).expect("a constant name and label"))
        };
        let days = Opts::new("clearway_certificate_expiry_days", "Days until a certificate expires, by its first name.");
        Self {
            certificate_days: register(registry, GaugeVec::new(days, &["certificate"]).expect("a constant name and label")),
            certificate_reloads: counters(
                "clearway_certificate_reloads_total",
                "Changed certificates and authorities, by result.",
            ),
            handshakes: counters("clearway_tls_handshakes_total", "TLS handshakes of clients, by result."),
            orders: counters("clearway_acme_orders_total", "Orders at the ACME authority, by result."),
        }
    }

    /// Which certificates there are is to be said anew.
    pub(crate) fn certificates_went(&self) {
        self.certificate_days.reset();
    }

    /// Each certificate's name and days to expiry.
    pub(crate) fn certificates<'c>(&self, all: impl Iterator<Item = (&'c str, f64)>) {
        for (name, days) in all {
            self.certificate_days.with_label_values(&[name]).set(days);
        }
    }

    pub(crate) fn certificate_reloaded(&self, ok: bool) {
        self.certificate_reloads.with_label_values(&[if ok { "ok" } else { "refused" }]).inc();
    }

    pub(crate) fn ordered(&self, ok: bool) {
        self.orders.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
    }

    pub(crate) fn handshake(&self, ok: bool) {
        self.handshakes.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
    }
}
