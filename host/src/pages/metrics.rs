//! Metrics in the text form that Prometheus scrapes
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Families of metrics, by name.
#[derive(Default)]
pub struct Metrics(BTreeMap<&'static str, Family>);

struct Family {
    kind: &'static str,
    help: &'static str,
    samples: Vec<(String, f64)>,
}

impl Metrics {
    /// A value that can fall.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.add(("gauge", name, help), labels, value);
    }

    /// A count that only grows.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.add(("counter", name, help), labels, value);
    }

    fn add(&mut self, of: (&'static str, &'static str, &'static str), labels: &[(&str, &str)], value: f64) {
        let (kind, name, help) = of;
        let label = |(name, value): &(&str, &str)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        };
        let labels: Vec<String> = labels.iter().map(label).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.0.entry(name).or_insert(Family { kind, help, samples: Vec::new() }).samples.push((labels, value));
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// As it is scraped.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, Family { kind, help, samples }) in &self.0 {
            // Writing into a string does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_families_stand_together() {
        let mut metrics = Metrics::default();
        metrics.gauge("b", "B.", &[("name", "a \"quoted\"\\\n")], 0.5);
        metrics.counter("a", "A.", &[], 3.0);
        metrics.gauge("b", "B.", &[("name", "c")], 1.0);
        let expected = "# HELP a A.\n# TYPE a counter\na 3\n# HELP b B.\n# TYPE b gauge\nb{name=\"a \\\"quoted\\\"\\\\\\n\"} 0.5\nb{name=\"c\"} 1\n";
        assert_eq!(metrics.text(), expected);
    }
}
