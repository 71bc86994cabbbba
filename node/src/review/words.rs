//! A study as a lawyer can read it: what left the node, what each party can learn, why the guarantee holds.

use entente_protocols::ledger::entry::{Entry, Privacy, State, StudyRecord};
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;

/// The answers, paragraph by paragraph.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// What left this node.
    pub left: Vec<String>,
    /// What each party can learn.
    pub learn: Vec<String>,
    /// Why the guarantee holds.
    pub why: Vec<String>,
}

/// With at most that many digits after the point.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "0" && value > 0.0 { format!("{value:.2e}") } else { text.to_owned() }
}

/// How much likelier an event can become by one customer's presence, as a sentence.
fn factor(epsilon: f64) -> String {
    if epsilon < 5.0 { format!("{:.2} times", epsilon.exp()) } else { "many times".into() }
}

impl Words {
    /// Of the entries of one study over one data set. `own` says what the study tells of single partners, if it does.
    pub fn of(entries: &[Entry], own: Option<String>) -> Self {
        let studies: Vec<(State, &StudyRecord)> =
            entries.iter().filter_map(|entry| Some((entry.state(), entry.study()?))).collect();
        let Some((last, record)) = studies.last() else { return Self::default() };
        let charged: Vec<&StudyRecord> =
            studies.iter().filter(|(state, _)| *state == State::Reserved).map(|(_, record)| *record).collect();
        let sent = studies.iter().filter(|(state, _)| *state == State::Computed).count();
        let privacy = studies.iter().rev().find_map(|(_, record)| record.privacy.as_ref());
        if charged.is_empty() {
            let left = match last {
                State::Refused => "Nothing. The study was refused before any of the data was read.",
                State::Repeated => {
                    "The same numbers as before, bit for bit. Nothing new was computed, and nothing was charged."
                }
                _ => "Nothing yet.",
            };
            let learn = match last {
                State::Repeated => "Nobody learns anything that the first answer did not say.",
                _ => "The other parties know that the study was proposed to this node, and how it answered.",
            };
            return Self { left: vec![left.into()], learn: vec![learn.into()], why: Vec::new() };
        }
        let numbers: u64 = charged
            .iter()
            .filter_map(|record| record.privacy.as_ref())
            .flat_map(|p| &p.noise)
            .map(|noise| noise.numbers)
            .sum();
        let alone = privacy.is_none_or(|privacy| privacy.participants < 2);
        let lists = match (sent, charged.len()) {
            (0, _) => {
                "Nothing yet, though it was charged before the data were read. What is to leave is a list of sums"
                    .to_owned()
            }
            (1, 1) => "A list of sums".into(),
            (sent, rounds) if sent == rounds => format!("{sent} lists of sums, one a round,"),
            (sent, rounds) => format!("{sent} lists of sums, one a round, of {rounds} that were charged,"),
        };
        let mut left = vec![format!(
            "{lists} over all customers of the data set “{}” that the study is about: {}. Every customer was first limited to a fixed, publicly \
             known influence; then random noise was added to every number{}. No record, no list of customers and no identifier left.",
            record.dataset,
            if numbers == 1 { "one number".to_owned() } else { format!("{numbers} numbers in all") },
            if alone {
                ""
            } else {
                ", and a mask that hides this node's numbers from everybody, the coordinator included"
            },
        )];
        left.extend(record.study.kind.stays().map(str::to_owned));
        let others = record.participants.iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>().join(", ");
        let whom = format!("{} and whoever is given the result ({})", record.requester, record.recipients.join(", "));
        let mut learn = match own {
            None if alone => {
                vec![format!("{whom} learn the sums, with noise: no other participant's are added to them.")]
            }
            None => vec![format!(
                "{whom} learn the sums over all participants together ({others}), with noise; not this node's own."
            )],
            Some(own) => vec![format!("{whom} learn the sums of the study of {others}, with noise."), own],
        };
        if let Some(privacy) = privacy.filter(|privacy| privacy.participants > 1) {
            learn.push(format!(
                "Up to {} of the other participants could work together with the coordinator against this node: what they see is still covered \
                 by as much noise as was charged for.",
                privacy.colluders
            ));
        }
        Self { left, learn, why: privacy.map(|privacy| why(privacy, &charged)).unwrap_or_default() }
    }
}

fn why(privacy: &Privacy, charged: &[&StudyRecord]) -> Vec<String> {
    let rho: Rho = charged.iter().map(|record| record.charge()).sum();
    let person: Rho =
        charged.iter().filter_map(|record| record.privacy.as_ref()).map(|privacy| privacy.rho_person).sum();
    let (epsilon, of_person) = (rho.epsilon(privacy.delta), person.epsilon(privacy.delta));
    let whom = match privacy.scope {
        Scope::Customer => {
            format!("one customer of this partner (all rows with one value of “{}”)", privacy.privacy_unit)
        }
        Scope::Person => "one person, even one who is a customer of every participant".into(),
    };
    vec![
        format!(
            "The noise is so large that the result would be almost as likely without any one customer's data. Precisely: for {whom}, no \
             outcome becomes more than {} likelier or less likely by whether its data are there, except with probability {:e}. This is \
             differential privacy, ε = {} at δ = {:e}, ρ = {rho}.",
            factor(epsilon),
            privacy.delta,
            number(epsilon),
            privacy.delta,
        ),
        format!(
            "For a person who may be a customer of all {} participants, the figure is ε = {} (ρ = {person}).",
            privacy.participants,
            number(of_person)
        ),
        "The charge was written to this ledger, and seen by witnesses, before anything left. Charges add up, and together they stay \
         below the cap; they are never taken back, and never renewed by time."
            .into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_zero_where_there_is_something() {
        assert_eq!([1.0, 0.25, 1.23456, 0.00001, 0.0].map(number), ["1", "0.25", "1.2346", "1.00e-5", "0"]);
        assert_eq!(factor(0.5), "1.65 times");
    }
}
