//! What is checked of a submission without asking anybody. Pure; what takes a request is [`super::probe`].

use clearway_config::scope::{ADMIN, CLEARWAY_SCOPES};
use url::Url;

use super::{
    content::{Content, Number, Permission},
    model::{Finding, Version},
};

/// Characters that say why a scope is needed, at least.
const REASON_CHARS_MIN: usize = 20;
/// Characters of the description, at least.
const DESCRIPTION_CHARS_MIN: usize = 40;

/// What was found, of every check.
pub(super) fn look(content: &Content, number: Number, live: Option<&Version>) -> Vec<Finding> {
    vec![
        finding("listing", listing(content)),
        finding("version", version(number, live)),
        finding("redirect_uris", redirect_uris(content)),
        finding("permissions", permissions(&content.permissions)),
        finding("pricing", content.pricing.fault().map(str::to_owned)),
    ]
}

/// One sentence of what failed, for the developer.
pub(super) fn reason(findings: &[Finding]) -> String {
    let failed = findings.iter().filter(|finding| !finding.passed);
    failed.map(|finding| format!("{}: {}", finding.check, finding.message)).collect::<Vec<_>>().join("; ")
}

pub(super) fn finding(check: &str, fault: Option<String>) -> Finding {
    let passed = fault.is_none();
    Finding { check: check.to_owned(), passed, message: fault.unwrap_or_else(|| "as it should be".to_owned()) }
}

fn listing(content: &Content) -> Option<String> {
    let mut missing = Vec::new();
    if content.summary.trim().is_empty() {
        missing.push("summary");
    }
    if content.description.trim().chars().count() < DESCRIPTION_CHARS_MIN {
        missing.push("description (40 characters at least)");
    }
    if content.support_url.is_none() {
        missing.push("support_url");
    }
    if content.privacy_url.is_none() && !content.permissions.is_empty() {
        missing.push("privacy_url (of an app that asks for permissions)");
    }
    (!missing.is_empty()).then(|| format!("there is no {}", missing.join(", no ")))
}

fn version(number: Number, live: Option<&Version>) -> Option<String> {
    let live = live.filter(|live| number <= live.number)?;
    Some(format!("{number} does not come after {}, which is published", live.number))
}

fn redirect_uris(content: &Content) -> Option<String> {
    content.redirect_uris.iter().find_map(|uri| Some(format!("{uri} {}", redirect_uri_fault(uri)?)))
}

/// What speaks against sending people back there (RFC 6749, 3.1.2; RFC 9700, 4.1).
fn redirect_uri_fault(uri: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(uri) else { return Some("is no URL") };
    if url.scheme() != "https" || !url.has_host() {
        return Some("does not begin with https://");
    }
    if uri.contains('#') {
        return Some("has a fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds a user name or a password");
    }
    if uri.contains('*') || uri.contains('\\') {
        return Some("has a wildcard or a backslash");
    }
    // Compared character by character later: nothing may be hidden by how it is written.
    if url.as_str() != uri && url.as_str().trim_end_matches('/') != uri {
        return Some("is not written as browsers will write it");
    }
    None
}

fn permissions(permissions: &[Permission]) -> Option<String> {
    permissions.iter().find_map(|permission| {
        let scope = &permission.scope;
        if scope.as_str() == ADMIN {
            Some(format!("{scope} is for whoever runs Clearway"))
        } else if !CLEARWAY_SCOPES.contains(&scope.as_str()) {
            Some(format!("{scope} is no scope of Clearway's"))
        } else if permission.reason.trim().chars().count() < REASON_CHARS_MIN {
            Some(format!("{scope} lacks a reason of {REASON_CHARS_MIN} characters at least"))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_only_sent_back_to_where_exactly_is_known() {
        for good in ["https://example.com/callback", "https://example.com", "https://example.com/a?b=c"] {
            assert_eq!(redirect_uri_fault(good), None, "{good}");
        }
        for bad in [
            "",
            "callback",
            "http://example.com/callback",
            "http://localhost/callback",
            "javascript:alert(1)",
            "https://example.com/#x",
            "https://me:secret@example.com/",
            "https://*.example.com/",
            "https://example.com\\@evil.example/",
            "https://EXAMPLE.com/",
            "https://example.com/a/../b",
            "https:example.com/callback",
        ] {
            assert!(redirect_uri_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_scope_that_nobody_explains_or_that_is_not_ours_is_found() {
        let asking = |scope: &str, reason: &str| {
            permissions(&[Permission { scope: scope.parse().unwrap(), reason: reason.into(), optional: true }])
        };
        assert_eq!(asking("read:keys", "To list keys in the dashboard."), None);
        for (scope, reason) in [
            ("read:keys", ""),
            ("read:keys", "because"),
            ("admin:platform", "To do everything there is to do."),
            ("read:secrets", "To list keys in the dashboard."),
        ] {
            assert!(asking(scope, reason).is_some(), "{scope} {reason}");
        }
    }
}
