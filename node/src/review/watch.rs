//! What a monitoring system watches.

use std::sync::Arc;

use entente_host::Error;
use entente_host::pages::metrics::Metrics;
use entente_protocols::ledger::AccountKey;

use super::shown::{Review, contradictions};

/// All metrics of a node.
pub(super) fn metrics(review: &Arc<Review>) -> Result<Metrics, Error> {
    let mut metrics = Metrics::default();
    {
        let index = review.index()?;
        let chain = &index.chain;
        metrics.gauge("entente_node_ledger_entries", "Entries of the ledger.", &[], chain.head().entries as f64);
        let verified = f64::from(u8::from(index.broken.is_none()));
        metrics.gauge(
            "entente_node_ledger_verified",
            "1 where every entry follows from those before it.",
            &[],
            verified,
        );
        // Of data sets of one population the same: what counts is what their people have left.
        for (name, dataset) in &review.config.datasets {
            let account = AccountKey::Population(dataset.population.clone());
            let (labels, spent) = ([("dataset", name.as_str())], chain.spent(&account));
            let cap = chain.cap(&account).unwrap_or(review.config.caps.lifetime);
            metrics.gauge("entente_node_spent_rho", "Sum of the charges, as rho.", &labels, spent.rho.value());
            let help = "Sum of the losses to a person who may be a customer of every participant, as rho.";
            metrics.gauge("entente_node_spent_person_rho", help, &labels, spent.person.value());
            metrics.gauge("entente_node_cap_rho", "What may be spent, as rho.", &labels, cap.value());
            metrics.gauge("entente_node_left_rho", "What is left, as rho.", &labels, cap.minus(spent.rho).value());
            for (year, totals) in chain.years(&dataset.population) {
                let (year, left) = (year.to_string(), cap.minus(spent.rho).minus(totals.spent));
                let labels = [("dataset", name.as_str()), ("year", year.as_str())];
                metrics.gauge("entente_node_year_left_rho", "What is left of a year, as rho.", &labels, left.value());
            }
        }
        for (state, count) in &index.states {
            let help = "Entries by what they record.";
            metrics.counter("entente_node_entries_total", help, &[("state", state)], *count as f64);
        }
        let states = ["charged", "sent", "released", "repeated", "refused"];
        for state in states {
            let count = index.lines.iter().filter(|line| super::index::name(line.state) == state).count();
            metrics.gauge(
                "entente_node_studies",
                "Studies by what was last recorded of them.",
                &[("state", state)],
                count as f64,
            );
        }
        let help = "Bytes of the masked vectors that were stored to be sent.";
        metrics.counter("entente_node_sent_bytes_total", help, &[], index.bytes as f64);
        let paused = chain.paused().count() as f64;
        metrics.gauge("entente_node_paused", "Data sets and study kinds that officers have paused.", &[], paused);
    }
    for (kind, count) in review.alarms.counts() {
        let help = "What the log says with the word ALARM since the node started: replies that left late, and data that could not be read.";
        metrics.counter("entente_node_alarms_total", help, &[("kind", kind)], count as f64);
    }
    let shown = contradictions(review)? as f64;
    let help = "Checkpoints that witnesses hold and the ledger does not go on from; above 0 it is in quarantine.";
    metrics.gauge("entente_node_quarantine", help, &[], shown);
    Ok(metrics)
}
