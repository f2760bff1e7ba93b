//! The status page: one document that asks `/status.json` now and then and loads nothing else.

/// What the page may do, with a number that only this answer's own style and script carry.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) html: String,
    pub(crate) policy: String,
}

pub(crate) fn page(nonce: u128) -> Page {
    let nonce = format!("{nonce:032x}");
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Page { html: include_str!("page.html").replace("{{nonce}}", &nonce), policy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_and_runs_only_its_own_script() {
        let Page { html, policy } = page(0xab);
        assert!(!html.contains("{{") && !html.contains("://") && !html.contains("innerHTML"));
        assert_eq!((html.matches("nonce=").count(), html.matches("<script").count()), (2, 1));
        assert!(!html.contains(" style=\"") && !html.contains(" onclick="), "the policy would refuse them");
        assert!(policy.contains("script-src 'nonce-000000000000000000000000000000ab'") && !policy.contains("unsafe"));
    }
}
