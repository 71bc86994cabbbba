//! Progress: one live line on a terminal, else a line for each change. To stderr.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::rc::Rc;
use std::time::Duration;

use entente_protocols::wire::message::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::client::Update;

/// Tells how a study gets on.
pub(super) struct Reporter {
    bar: Option<ProgressBar>,
    id: Rc<RefCell<Option<String>>>,
    last: Option<Progress>,
}

impl Reporter {
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}");
            let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, id: Rc::default(), last: None }
    }

    /// The identifier of the study that was accepted last.
    pub(super) fn id(&self) -> Rc<RefCell<Option<String>>> {
        self.id.clone()
    }

    pub(super) fn report(&mut self, update: Update) {
        match update {
            Update::Accepted(id) => {
                self.say(&format!("study {id}"));
                *self.id.borrow_mut() = Some(id);
                self.last = None;
            }
            Update::Progress(progress) => {
                // Those of another stage are others.
                self.last.take_if(|last| last.study != progress.study);
                let known = self.last.as_ref().map_or(0, |last| last.notes.len());
                for note in progress.notes.iter().skip(known) {
                    self.say(note);
                }
                let line = line(&progress);
                // A log has a line a round; who of many partners is waited for in it changes too often.
                let same_round = |last: &Progress| {
                    progress.rounds.1 > 1 && (&last.stage, last.rounds) == (&progress.stage, progress.rounds)
                };
                if self.last.as_ref().is_none_or(|last| self::line(last) != line) {
                    match &self.bar {
                        Some(bar) => bar.set_message(line),
                        None if self.last.as_ref().is_some_and(same_round) => {}
                        None => eprintln!("{line}"),
                    }
                }
                self.last = Some(progress);
            }
        }
    }

    /// A line that stays.
    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(progress: &Progress) -> String {
    let attempt = if progress.attempt > 1 { format!("attempt {}, ", progress.attempt) } else { String::new() };
    let stage = match progress.stage.as_str() {
        "waiting" => "gathering",
        "complete" => "writing the result",
        stage => stage,
    };
    let round = match progress.rounds {
        (round, rounds) if rounds > 1 => format!(" round {round} of {rounds}"),
        _ => String::new(),
    };
    let left = progress.seconds_left.map_or_else(String::new, |seconds| format!(", about {} left", duration(seconds)));
    let waiting: Vec<String> =
        progress.waiting.iter().map(|(partner, reason)| format!("{partner} ({reason})")).collect();
    if waiting.is_empty() {
        format!("{attempt}{stage}{round}{left}")
    } else {
        format!("{attempt}{stage}{round}{left}: waiting for {}", waiting.join(", "))
    }
}

fn duration(seconds: u32) -> String {
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_is_waited_for_and_why() {
        let waiting = vec![("bank".into(), "not connected".into()), ("telecom".into(), "computes".into())];
        let mut progress = Progress {
            study: "s".into(),
            attempt: 2,
            stage: "summing".into(),
            rounds: (1, 1),
            seconds_left: None,
            waiting,
            notes: vec![],
        };
        assert_eq!(line(&progress), "attempt 2, summing: waiting for bank (not connected), telecom (computes)");
        (progress.rounds, progress.seconds_left) = ((3, 20), Some(100));
        progress.waiting.clear();
        assert_eq!(line(&progress), "attempt 2, summing round 3 of 20, about 2 min left");
    }
}
