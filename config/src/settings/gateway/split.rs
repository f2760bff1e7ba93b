//! Sending a part of a route's requests to other upstreams: canaries.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use crate::settings::fault::{Fault, Within as _};

/// Other upstreams of one route at most.
pub const SPLITS_MAX: usize = 16;
/// All of a route's requests, in steps of 0.01 %.
pub const ALL: u16 = 10_000;

/// One part as it is written: a share of the requests, or those that carry headers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SplitSpec {
    /// The name of an upstream.
    pub upstream: String,
    /// Of 100, in steps of 0.01. An account always lands on the same side; who is not known, by chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Headers that a request must carry, all of them; `"*"` is any value. These come before shares.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, String>,
}

/// The parts of a route's requests that go elsewhere, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// Tried in this order, before the shares.
    pub by_header: Vec<(Conditions, usize)>,
    /// Where each share ends, of [`ALL`]; ascending. What lies beyond the last goes to the route's own upstream.
    pub by_share: Vec<(u16, usize)>,
}

impl Split {
    pub fn is_empty(&self) -> bool {
        self.by_header.is_empty() && self.by_share.is_empty()
    }

    /// All that something may go to.
    pub fn upstreams(&self) -> impl Iterator<Item = usize> {
        let by_header = self.by_header.iter().map(|(_, upstream)| *upstream);
        by_header.chain(self.by_share.iter().map(|(_, upstream)| *upstream))
    }

    pub(super) fn resolve(specs: &[SplitSpec], upstreams: &HashMap<String, usize>) -> Result<Self, Fault> {
        if specs.len() > SPLITS_MAX {
            return Err(Fault::new(format!("more than {SPLITS_MAX}")));
        }
        let mut split = Self::default();
        let mut end = 0;
        for (n, spec) in specs.iter().enumerate() {
            let upstream = super::route::upstream(&spec.upstream, upstreams).within(n)?;
            match (spec.percent, spec.header.is_empty()) {
                (None, false) => {
                    let conditions = Conditions::resolve(&spec.header, &BTreeMap::new()).within(n)?;
                    split.by_header.push((conditions, upstream));
                }
                (Some(percent), true) => {
                    end += share(percent).within("percent").within(n)?;
                    if end > ALL {
                        return Err(Fault::at("percent", "the shares come to more than 100").within(n));
                    }
                    split.by_share.push((end, upstream));
                }
                _ => return Err(Fault::new("needs `percent` or `header`, one of the two").within(n)),
            }
        }
        Ok(split)
    }
}

fn share(percent: f64) -> Result<u16, Fault> {
    let steps = percent * 100.0;
    if !(0.0..=f64::from(ALL)).contains(&steps) {
        return Err(Fault::new("must be from 0 to 100"));
    }
    if (steps - steps.round()).abs() > 1e-6 {
        return Err(Fault::new("must be in steps of 0.01"));
    }
    // In bounds, as was checked.
    Ok(steps.round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Part<'a> = (&'a str, Option<f64>, &'a [(&'a str, &'a str)]);

    fn resolve(specs: &[Part<'_>]) -> Result<Split, String> {
        let upstreams = HashMap::from([("old".to_owned(), 1), ("next".to_owned(), 2)]);
        let spec = |(upstream, percent, header): &Part<'_>| SplitSpec {
            upstream: (*upstream).to_owned(),
            percent: *percent,
            header: header.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        };
        let specs: Vec<_> = specs.iter().map(spec).collect();
        Split::resolve(&specs, &upstreams).map_err(|fault| fault.to_string())
    }

    #[test]
    fn shares_add_up_in_steps_of_a_hundredth_of_a_percent() {
        let split = resolve(&[("next", Some(0.01), &[]), ("old", Some(99.99), &[]), ("next", None, &[("X-C", "y")])]).unwrap();
        assert_eq!(split.by_share, [(1, 2), (10_000, 1)]);
        assert_eq!((split.by_header.len(), split.by_header[0].1), (1, 2));
        for (specs, fault) in [
            (resolve(&[("next", Some(60.0), &[]), ("next", Some(40.01), &[])]), "[1].percent: the shares come to more than 100"),
            (resolve(&[("next", Some(0.001), &[])]), "[0].percent: must be in steps of 0.01"),
            (resolve(&[("next", Some(-1.0), &[])]), "[0].percent: must be from 0 to 100"),
            (resolve(&[("next", Some(f64::NAN), &[])]), "[0].percent: must be from 0 to 100"),
            (resolve(&[("next", None, &[])]), "[0]: needs `percent` or `header`, one of the two"),
            (resolve(&[("next", Some(1.0), &[("x", "y")])]), "[0]: needs `percent` or `header`, one of the two"),
            (resolve(&[("other", Some(1.0), &[])]), "[0].upstream: there is no upstream `other`"),
        ] {
            assert_eq!(specs.unwrap_err(), fault);
        }
    }
}
