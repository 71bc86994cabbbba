//! Progress: one live line on a terminal, else a line for each change. To stderr.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::rc::Rc;
use std::time::Duration;

use entente_protocols::wire::message::{News, Progress};
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
                let News { notes, line, is_detail } = progress.news(self.last.as_ref());
                notes.iter().for_each(|note| self.say(note));
                match (line, &self.bar) {
                    (Some(line), Some(bar)) => bar.set_message(line),
                    (Some(line), None) if !is_detail => eprintln!("{line}"),
                    _ => {}
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
