//! The states of an app and what leads from one to another. Pure: a table, and how an app and its proposal move by it.
//!
//! There is no way to `active` that does not pass `in_review` and an approval of exactly what becomes visible: an edit takes
//! a proposal back to `draft`, and only an approved proposal can be published.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an app, or a version of one, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = AppState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Being written.
    Draft,
    /// Submitted: the automatic checks are running.
    Pending,
    /// The checks found nothing; a person decides.
    InReview,
    /// By the checks or by a person, with the reasons.
    Rejected,
    /// May be published.
    Approved,
    /// In the catalogue.
    Active,
    /// Taken from the catalogue by whoever runs it.
    Suspended,
    /// Of an app: no longer offered, still installed where it is. Of a version: a newer one took its place.
    Deprecated,
    /// Gone for good.
    Removed,
}

/// What is done to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    Edit,
    Submit,
    Withdraw,
    Pass,
    Fail,
    Approve,
    Reject,
    Publish,
    Suspend,
    Resume,
    Deprecate,
    Restore,
    Remove,
}

/// Who may do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Developer,
    /// The automatic checks.
    Checks,
    /// Whoever runs the catalogue.
    Reviewer,
}

/// Of proposals, and of apps that were never published.
const REVIEW: &[(State, Act, State)] = &[
    (State::Draft, Act::Edit, State::Draft),
    (State::Rejected, Act::Edit, State::Draft),
    (State::Draft, Act::Submit, State::Pending),
    (State::Rejected, Act::Submit, State::Pending),
    (State::Pending, Act::Withdraw, State::Draft),
    (State::InReview, Act::Withdraw, State::Draft),
    (State::Approved, Act::Withdraw, State::Draft),
    (State::Pending, Act::Pass, State::InReview),
    (State::Pending, Act::Fail, State::Rejected),
    (State::InReview, Act::Approve, State::Approved),
    (State::InReview, Act::Reject, State::Rejected),
    (State::Approved, Act::Reject, State::Rejected),
    (State::Approved, Act::Publish, State::Active),
];

/// Of apps that were published.
const LIFE: &[(State, Act, State)] = &[
    (State::Active, Act::Suspend, State::Suspended),
    (State::Deprecated, Act::Suspend, State::Suspended),
    (State::Suspended, Act::Resume, State::Active),
    (State::Active, Act::Deprecate, State::Deprecated),
    (State::Deprecated, Act::Restore, State::Active),
];

/// An app as the table sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub app: State,
    /// Whether a version was ever published.
    pub live: bool,
    /// The version that is written or reviewed.
    pub proposal: Option<State>,
}

/// What cannot be done in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{act} is not possible while it is {state}", act = .act.as_str(), state = .state.as_str())]
pub struct Refused {
    pub state: State,
    pub act: Act,
}

impl State {
    pub const ALL: [State; 9] = [
        Self::Draft,
        Self::Pending,
        Self::InReview,
        Self::Rejected,
        Self::Approved,
        Self::Active,
        Self::Suspended,
        Self::Deprecated,
        Self::Removed,
    ];

    /// As in the database and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Pending => "pending",
            Self::InReview => "in_review",
            Self::Rejected => "rejected",
            Self::Approved => "approved",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deprecated => "deprecated",
            Self::Removed => "removed",
        }
    }

    /// Whether everybody may read the page of an app that is so.
    pub const fn is_shown(self) -> bool {
        matches!(self, Self::Active | Self::Deprecated)
    }

    fn by(self, table: &[(State, Act, State)], act: Act) -> Result<State, Refused> {
        let found = table.iter().find(|(from, what, _)| *from == self && *what == act);
        found.map(|(_, _, to)| *to).ok_or(Refused { state: self, act })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be draft, pending, in_review, rejected, approved, active, suspended, deprecated or removed")]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

impl Act {
    pub const ALL: [Act; 13] = [
        Self::Edit,
        Self::Submit,
        Self::Withdraw,
        Self::Pass,
        Self::Fail,
        Self::Approve,
        Self::Reject,
        Self::Publish,
        Self::Suspend,
        Self::Resume,
        Self::Deprecate,
        Self::Restore,
        Self::Remove,
    ];

    /// As refusals call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edit => "editing",
            Self::Submit => "submitting",
            Self::Withdraw => "withdrawing",
            Self::Pass | Self::Fail => "checking",
            Self::Approve => "approving",
            Self::Reject => "rejecting",
            Self::Publish => "publishing",
            Self::Suspend => "suspending",
            Self::Resume => "resuming",
            Self::Deprecate => "deprecating",
            Self::Restore => "restoring",
            Self::Remove => "removing",
        }
    }

    /// Who may do it. An admin acts for every developer, too.
    pub const fn by(self) -> By {
        match self {
            Self::Pass | Self::Fail => By::Checks,
            Self::Approve | Self::Reject | Self::Suspend | Self::Resume => By::Reviewer,
            Self::Edit | Self::Submit | Self::Withdraw | Self::Publish | Self::Deprecate | Self::Restore | Self::Remove => {
                By::Developer
            }
        }
    }
}

impl Standing {
    /// Of an app that was just made.
    pub const NEW: Self = Self { app: State::Draft, live: false, proposal: Some(State::Draft) };

    /// After an act.
    pub fn after(self, act: Act) -> Result<Self, Refused> {
        if self.app == State::Removed {
            return Err(Refused { state: self.app, act });
        }
        match act {
            Act::Suspend | Act::Resume | Act::Deprecate | Act::Restore => Ok(Self { app: self.app.by(LIFE, act)?, ..self }),
            Act::Remove => Ok(Self { app: State::Removed, proposal: None, ..self }),
            Act::Publish => {
                self.reviewed(act)?;
                // What is suspended or deprecated stays so, with another version.
                let app = if self.live { self.app } else { State::Active };
                Ok(Self { app, live: true, proposal: None })
            }
            Act::Edit if self.proposal.is_none() => Ok(Self { proposal: Some(State::Draft), ..self }),
            Act::Edit | Act::Submit | Act::Withdraw | Act::Pass | Act::Fail | Act::Approve | Act::Reject => {
                let state = self.reviewed(act)?;
                Ok(Self { app: if self.live { self.app } else { state }, proposal: Some(state), ..self })
            }
        }
    }

    fn reviewed(self, act: Act) -> Result<State, Refused> {
        self.proposal.unwrap_or(self.app).by(REVIEW, act)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Contents are counted: each edit writes another one, and what is approved or visible is one of them.
        #[test]
        fn whatever_is_done_nothing_is_visible_that_was_not_checked_and_approved_as_it_is(
            acts in prop::collection::vec(0..Act::ALL.len(), 0..60)
        ) {
            let (mut standing, mut content, mut live) = (Standing::NEW, 0, None);
            let (mut checked, mut approved) = (None, None);
            for act in acts.into_iter().map(|n| Act::ALL[n]) {
                let Ok(next) = standing.after(act) else { continue };
                prop_assert_ne!(standing.app, State::Removed, "nothing follows");
                match act {
                    Act::Edit => content += 1,
                    Act::Submit | Act::Withdraw => (checked, approved) = (None, None),
                    Act::Pass => checked = Some(content),
                    Act::Approve => approved = Some(content),
                    Act::Reject => approved = None,
                    Act::Publish => {
                        prop_assert_eq!((checked, approved), (Some(content), Some(content)));
                        live = Some(content);
                    }
                    Act::Fail | Act::Suspend | Act::Resume | Act::Deprecate | Act::Restore | Act::Remove => {}
                }
                standing = next;
                prop_assert_eq!(standing.live, live.is_some());
                if matches!(standing.app, State::Active | State::Suspended | State::Deprecated) {
                    prop_assert!(standing.live);
                } else if standing.app != State::Removed {
                    prop_assert_eq!(standing.proposal, Some(standing.app));
                }
                let of_versions = [State::Draft, State::Pending, State::InReview, State::Rejected, State::Approved];
                prop_assert!(standing.proposal.is_none_or(|state| of_versions.contains(&state)));
            }
        }
    }

    #[test]
    fn nobody_but_a_reviewer_leads_out_of_review_towards_the_catalogue() {
        for (_, act, _) in REVIEW.iter().filter(|(from, _, to)| *from == State::InReview && *to == State::Approved) {
            assert_eq!(act.by(), By::Reviewer);
        }
        let into = |state| REVIEW.iter().filter(move |(_, _, to)| *to == state).map(|(from, ..)| *from).collect::<Vec<_>>();
        assert_eq!(into(State::Active), [State::Approved]);
        assert_eq!(into(State::Approved), [State::InReview]);
        assert_eq!(into(State::InReview), [State::Pending]);
    }

    #[test]
    fn every_state_can_be_reached_and_is_read_as_it_is_written() {
        let mut reached = vec![Standing::NEW];
        let mut at = 0;
        while let Some(standing) = reached.get(at).copied() {
            let new = Act::ALL.into_iter().filter_map(|act| standing.after(act).ok()).collect::<Vec<_>>();
            for next in new {
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
            at += 1;
        }
        for state in State::ALL {
            assert!(reached.iter().any(|standing| standing.app == state), "{state:?}");
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
