//! A study between its rounds: what each round is told, and what is made of its sum.

use entente_protocols::canonical::canonical_bytes;
use entente_protocols::learn::trainer::Trainer;
use entente_protocols::study::Question;
use entente_protocols::study::parts::Work;

use crate::store::RoundRecord;

/// Where a study stands, by the work of its contributors. Made anew from the sums of the rounds that are complete.
pub enum RoundState {
    /// Sums are one round, with nothing between.
    Sums,
    /// The model in training.
    Rounds(Box<Trainer>),
    /// Scoring likewise is one round.
    Score,
}

impl RoundState {
    /// After these rounds.
    ///
    /// # Errors
    ///
    /// If their sums are not of this question, in words for the operator.
    pub fn new(question: &Question, rounds: &[RoundRecord]) -> Result<Self, String> {
        let mut state = match question.work() {
            Work::Sums(_) => Self::Sums,
            Work::Score(_) | Work::Hold(_) => Self::Score,
            Work::Rounds(plan) => Self::Rounds(Box::new(Trainer::new(&plan.training, question.participants().len()))),
        };
        for round in rounds {
            state.absorb(round).map_err(|problem| format!("round {} cannot be used again: {problem}", round.round))?;
        }
        if let Self::Rounds(trainer) = &mut state {
            trainer.set_participants(question.participants().len());
        }
        Ok(state)
    }

    /// The public input of the next round.
    pub fn input(&self) -> Vec<u8> {
        match self {
            Self::Sums | Self::Score => Vec::new(),
            Self::Rounds(trainer) => canonical_bytes(&trainer.input()),
        }
    }

    /// Takes the sum of the next round.
    ///
    /// # Errors
    ///
    /// If no customers could have brought it, in words for the operator.
    pub fn absorb(&mut self, round: &RoundRecord) -> Result<(), String> {
        match self {
            Self::Sums | Self::Score => Ok(()),
            Self::Rounds(trainer) => {
                trainer.set_participants(round.participants as usize);
                trainer.absorb(&round.sum, &round.sd).map_err(|implausible| implausible.to_string())
            }
        }
    }
}
