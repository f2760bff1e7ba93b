//! The exposition that carries exemplars: OpenMetrics 1.0 text, of the same registry as the older text.
//!
//! <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>

use std::fmt::Write as _;

use prometheus::proto::{LabelPair, MetricFamily, MetricType};

use super::latency::Exemplar;

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether an `Accept` header prefers it to the older text. Prometheus lists it first; weights are only looked at for a refusal.
pub(crate) fn is_accepted(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
        named && !parts.any(|p| matches!(p, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// `exemplar` is asked by family, labels and bucket.
pub(super) fn encode(families: &[MetricFamily], exemplar: impl Fn(&str, &[LabelPair], usize) -> Option<Exemplar>) -> String {
    let mut text = String::new();
    for family in families {
        // Writing to a String cannot fail.
        let _ = write_family(&mut text, family, &exemplar);
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(
    to: &mut String,
    family: &MetricFamily,
    exemplar: &impl Fn(&str, &[LabelPair], usize) -> Option<Exemplar>,
) -> std::fmt::Result {
    let kind = family.get_field_type();
    let (name, kind_word) = match kind {
        MetricType::COUNTER => (family.name().strip_suffix("_total").unwrap_or(family.name()), "counter"),
        MetricType::GAUGE => (family.name(), "gauge"),
        MetricType::HISTOGRAM => (family.name(), "histogram"),
        MetricType::SUMMARY | MetricType::UNTYPED => (family.name(), "unknown"),
    };
    writeln!(to, "# TYPE {name} {kind_word}")?;
    writeln!(to, "# HELP {name} {}", Escaped(family.help()))?;
    for metric in family.get_metric() {
        let labels = metric.get_label();
        match kind {
            MetricType::COUNTER => {
                sample(to, name, "_total", labels, None)?;
                writeln!(to, "{}", metric.get_counter().get_value())?;
            }
            MetricType::GAUGE => {
                sample(to, name, "", labels, None)?;
                writeln!(to, "{}", metric.get_gauge().get_value())?;
            }
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let bounds = histogram.get_bucket().iter().map(|b| (format!("{:?}", b.upper_bound()), b.cumulative_count()));
                let last = ("+Inf".to_owned(), histogram.get_sample_count());
                for (n, (bound, count)) in bounds.chain([last]).enumerate() {
                    sample(to, name, "_bucket", labels, Some(&bound))?;
                    write!(to, "{count}")?;
                    if let Some(Exemplar { traced, took_ns }) = exemplar(family.name(), labels, n) {
                        let (took, at) = (took_ns as f64 / 1e9, traced.at_ms as f64 / 1e3);
                        write!(to, " # {{trace_id=\"{:032x}\"}} {took} {at:.3}", traced.trace_id)?;
                    }
                    to.push('\n');
                }
                sample(to, name, "_count", labels, None)?;
                writeln!(to, "{}", histogram.get_sample_count())?;
                sample(to, name, "_sum", labels, None)?;
                writeln!(to, "{}", histogram.get_sample_sum())?;
            }
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }
    Ok(())
}

/// Name and labels, and the space before the value.
fn sample(to: &mut String, name: &str, suffix: &str, labels: &[LabelPair], bound: Option<&str>) -> std::fmt::Result {
    write!(to, "{name}{suffix}")?;
    let labels = labels.iter().map(|pair| (pair.name(), pair.value())).chain(bound.map(|bound| ("le", bound)));
    let mut separator = '{';
    for (label, value) in labels {
        write!(to, "{separator}{label}=\"{}\"", Escaped(value))?;
        separator = ',';
    }
    to.push_str(if separator == ',' { "} " } else { " " });
    Ok(())
}

/// The three characters that the format escapes.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_are_given_to_whoever_asks_for_them() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert!(is_accepted(prometheus));
        assert!(!is_accepted("text/plain;version=0.0.4,*/*;q=0.1"));
        assert!(!is_accepted("application/openmetrics-text;q=0, */*") && !is_accepted(""));
    }
}
