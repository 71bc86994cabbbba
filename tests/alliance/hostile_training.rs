//! Trainings by a hostile coordinator, which drives real participants by hand, and by a hostile partner.
//!
//! What masking cannot show: which of the partners brought nonsense; and that a partner brought numbers that customers
//! could have brought, but its own did not. A flipped sign is of that kind: limits let it pass, and only held-out customers
//! tell, if it changes much, in which round it was (`learn::evaluation::checkpoints` of the protocols).

use std::collections::BTreeMap;

use entente_protocols::canonical::canonical_bytes;
use entente_protocols::digest::Digest;
use entente_protocols::learn::frame::Input;
use entente_protocols::learn::model::{Parameters, Recode};
use entente_protocols::learn::trainer::Trainer;
use entente_protocols::ledger::entry::State;
use entente_protocols::secagg::collect::Stage;
use entente_protocols::study::Question;
use entente_protocols::study::parts::Work;
use entente_protocols::wire::message::{FromNode, ToNode};
use entente_testing::{Error, PARTNERS, Proposed, Puppets, Signed, last_study, refused, study};

const FEATURES: &str = "SELECT client_id, age, balance, housing, loan, y FROM clients";
/// Rounds: histograms, bins by target, two of residuals, evaluation.
pub(super) const ROUNDS: u32 = 5;

/// An attempt that everybody has joined and signed.
pub(super) struct Attempt {
    pub(super) proposed: Proposed,
    pub(super) question: Question,
    signatures: Signed,
}

impl Attempt {
    pub(super) fn new(puppets: &Puppets, proposed: Proposed) -> Result<Self, Error> {
        let question = puppets.question("clients", &proposed)?;
        let signatures = puppets.signatures(&proposed);
        Ok(Self { proposed, question, signatures })
    }

    pub(super) fn trainer(&self) -> Trainer {
        let Work::Rounds(plan) = self.question.work() else { panic!("a training was asked") };
        Trainer::new(&plan.training, self.proposed.proposal.participants.len())
    }

    fn go(&self, round: u32, input: &[u8]) -> ToNode {
        self.proposed.round(round, input, &self.signatures)
    }

    /// What a partner contributes to a round, as masked.
    fn contribution(&self, puppets: &Puppets, partner: &str, round: u32, input: &[u8]) -> Result<Vec<i64>, Error> {
        let frame = puppets.tell(partner, self.go(round, input)).pop().ok_or("an answer")?;
        if !frame.is_contribution() {
            return Err(format!("{partner} must contribute to round {round}: {:?}", frame.decode::<FromNode>()?).into());
        }
        Ok(frame.decode_contribution()?.values)
    }

    /// The sum of a round over all who take part, all of whom are told the same.
    fn sum(&self, puppets: &Puppets, round: u32, input: &[u8]) -> Result<Vec<i64>, Error> {
        let mut sum = vec![0i64; self.question.round(round).ok_or("a round")?.layout().len()];
        for partner in &self.proposed.proposal.participants {
            add(&mut sum, &self.contribution(puppets, partner, round, input)?);
        }
        Ok(sum)
    }

    fn sd(&self, round: u32) -> Vec<f64> {
        let mechanism = self.question.round(round).expect("a round of the plan");
        (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect()
    }

    /// Takes rounds honestly until `round` is the next one.
    pub(super) fn until(&self, puppets: &Puppets, trainer: &mut Trainer, round: u32) -> Result<(), Error> {
        while (trainer.next() as u32) + 1 < round {
            let next = trainer.next() as u32 + 1;
            let sum = self.sum(puppets, next, &canonical_bytes(&trainer.input()))?;
            trainer.absorb(&sum, &self.sd(next))?;
        }
        Ok(())
    }
}

pub(super) fn proposal(name: &str) -> Result<Proposed, Error> {
    Ok(Proposed::new(study(name).train("additive", FEATURES).with("target", "y").with("rounds", 2).build()?))
}

fn add(sum: &mut [i64], more: &[i64]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.wrapping_add(*more));
}

/// Whether numbers are as if drawn evenly from all of 64 bits. Of those that are, fewer than one in 10^11 fails: each bit is
/// set in half of them, within 8 standard deviations (Hoeffding: 64·2·e^-32), and three of some hundred within ±2^40 have a
/// chance of 10^-13.
fn is_uniform(values: &[i64]) -> bool {
    let count = values.len() as f64;
    let half = |bit: u32| values.iter().filter(|value| **value >> bit & 1 == 1).count() as f64;
    let even = (0..64).all(|bit| (half(bit) - count / 2.0).abs() <= 4.0 * count.sqrt());
    even && values.iter().filter(|value| value.unsigned_abs() < 1 << 40).count() < 3
}

/// An input of the same form with another model.
fn other_model(input: &Input) -> Vec<u8> {
    let mut input = input.clone();
    let Parameters::Additive { intercept, .. } = &mut input.parameters else { panic!("an additive model") };
    *intercept += 1.0;
    canonical_bytes(&input)
}

#[tokio::test(flavor = "multi_thread")]
async fn different_models_for_different_nodes_sum_to_garbage() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let attempt = Attempt::new(&puppets, proposal("models")?)?;
    let mut trainer = attempt.trainer();
    attempt.until(&puppets, &mut trainer, 2)?;
    // With equal inputs sums are what customers bring. Each is in one bin of each of four features, and four in five of
    // 18,036 are trained with; within 8 standard deviations of that choice and of the noise.
    let sum = attempt.sum(&puppets, 2, &canonical_bytes(&trainer.input()))?;
    let customers = sum.iter().sum::<i64>() as f64 / 1024.0 / 4.0;
    let sd = 53.7 + attempt.sd(2)[0] / 1024.0 / 4.0 * (sum.len() as f64).sqrt();
    assert!((customers - 14_428.8).abs() < 8.0 * sd, "{customers} ± {sd}");
    trainer.absorb(&sum, &attempt.sd(2))?;
    // Residuals are of at most .8 each, in 1/32767, and noise.
    let sum = attempt.sum(&puppets, 3, &canonical_bytes(&trainer.input()))?;
    let most = 18_036.0 * 26_213.0 + 8.0 * attempt.sd(3)[0];
    assert!(sum.iter().all(|value| (*value as f64).abs() < most));
    assert!(!is_uniform(&sum));
    trainer.absorb(&sum, &attempt.sd(3))?;
    // The first is told another model in round 4. No node can notice.
    let (honest, other) = (canonical_bytes(&trainer.input()), other_model(&trainer.input()));
    let mut contributions = Vec::new();
    for (partner, input) in PARTNERS.iter().zip([&other, &honest, &honest]) {
        contributions.push(attempt.contribution(&puppets, partner, 4, input)?);
    }
    // But neither all of them nor any of them together say anything.
    for chosen in 1..8u32 {
        let mut sum = vec![0; contributions[0].len()];
        let chosen = contributions.iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1);
        chosen.for_each(|(_, contribution)| add(&mut sum, contribution));
        assert!(is_uniform(&sum));
    }
    let mut sum = vec![0; contributions[0].len()];
    contributions.iter().for_each(|contribution| add(&mut sum, contribution));
    assert!(trainer.absorb(&sum, &attempt.sd(4)).is_err(), "an honest coordinator would be told");
    assert_eq!(puppets.reserved()?, [4, 4, 4]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_and_rounds_that_do_not_fit_are_refused_and_cost_nothing() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let attempt = Attempt::new(&puppets, proposal("unfit")?)?;
    let mut trainer = attempt.trainer();
    let no = |puppets: &Puppets, round: u32, input: &[u8], expected: &str| {
        for partner in PARTNERS {
            refused(puppets.ask(partner, attempt.go(round, input)), expected);
        }
    };
    attempt.until(&puppets, &mut trainer, 3)?;
    assert_eq!(puppets.reserved()?, [2, 2, 2]);
    let honest = trainer.input();
    let bytes = canonical_bytes(&honest);
    let changed = |change: &dyn Fn(&mut Input)| {
        let mut input = honest.clone();
        change(&mut input);
        canonical_bytes(&input)
    };
    let shapes = |input: &mut Input, change: &dyn Fn(&mut Vec<Vec<f64>>)| match &mut input.parameters {
        Parameters::Additive { shapes, .. } => change(shapes),
        other => panic!("{other:?}"),
    };
    let cases: [(&str, Vec<u8>, &str); 13] = [
        ("nothing", Vec::new(), "input"),
        ("a part", bytes[..bytes.len() - 1].to_vec(), "input"),
        ("more", [&bytes[..], &[0]].concat(), "input"),
        ("noise", vec![255; 1000], "input"),
        ("a NaN", changed(&|input| shapes(input, &|shapes| shapes[0][0] = f64::NAN)), "size that the plan"),
        ("infinity", changed(&|input| shapes(input, &|shapes| shapes[1][1] = f64::INFINITY)), "size that the plan"),
        ("a value more", changed(&|input| shapes(input, &|shapes| shapes[0].push(0.0))), "size that the plan"),
        ("a feature less", changed(&|input| shapes(input, &|shapes| drop(shapes.pop()))), "size that the plan"),
        (
            "another kind",
            changed(&|input| input.parameters = Parameters::Centres { centres: vec![] }),
            "not an additive",
        ),
        ("no model", changed(&|input| input.parameters = Parameters::None), "not an additive"),
        ("no recoding", changed(&|input| input.recoding = None), "the plan"),
        ("a unit of zero", changed(&|input| input.unit = 0.0), "measured in nothing"),
        // The same number of bins in other places: it fits the plan and the model, but not what went before.
        (
            "other bins",
            changed(&|input| {
                let columns = &mut input.recoding.as_mut().expect("there are numbers").columns;
                let Some(Recode::Bins(edges)) = columns.first_mut() else { panic!("age is a number") };
                edges[0] -= 1;
            }),
            "changed the recoding",
        ),
    ];
    for (name, input, expected) in &cases {
        println!("{name}");
        no(&puppets, 3, input, expected);
    }
    for (round, expected) in [(0, "round"), (5, "before the one"), (6, "before the one"), (99, "no release")] {
        no(&puppets, round, &bytes, expected);
    }
    assert_eq!(puppets.reserved()?, [2, 2, 2], "nothing was charged");
    // A refusal ends the attempt on the disk; what was promised holds for the next one, which goes on behind round 2.
    let next = Attempt::new(&puppets, attempt.proposed.again(2, 2))?;
    let sum = next.sum(&puppets, 3, &bytes)?;
    trainer.absorb(&sum, &next.sd(3))?;
    assert_eq!(puppets.reserved()?, [3, 3, 3]);
    // The evaluation compares the models of rounds 1 to 4, and no others.
    next.until(&puppets, &mut trainer, 5)?;
    let honest = trainer.input();
    assert_eq!(honest.checkpoints.len(), 4);
    let changed = |change: &dyn Fn(&mut Vec<Parameters>)| {
        let mut input = honest.clone();
        change(&mut input.checkpoints);
        canonical_bytes(&input)
    };
    let shapes = |model: &mut Parameters, change: &dyn Fn(&mut Vec<Vec<f64>>)| match model {
        Parameters::Additive { shapes, .. } => change(shapes),
        other => panic!("{other:?}"),
    };
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("no models", changed(&|models| models.clear()), "0 models of earlier rounds"),
        ("a model less", changed(&|models| drop(models.remove(0))), "3 models of earlier rounds"),
        ("a model more", changed(&|models| models.push(models[0].clone())), "5 models of earlier rounds"),
        ("a NaN", changed(&|models| shapes(&mut models[2], &|shapes| shapes[0][0] = f64::NAN)), "size that the plan"),
        (
            "a value more",
            changed(&|models| shapes(&mut models[3], &|shapes| shapes[1].push(0.0))),
            "size that the plan",
        ),
        ("another kind", changed(&|models| models[1] = Parameters::Centres { centres: vec![] }), "of another kind"),
        ("none in between", changed(&|models| models[1] = Parameters::None), "of another kind"),
    ];
    for (name, input, expected) in &cases {
        println!("{name}");
        for partner in PARTNERS {
            refused(puppets.ask(partner, next.go(5, input)), expected);
        }
    }
    assert_eq!(puppets.reserved()?, [4, 4, 4], "nothing was charged");
    let last = Attempt::new(&puppets, attempt.proposed.again(3, 4))?;
    let sum = last.sum(&puppets, 5, &canonical_bytes(&honest))?;
    trainer.absorb(&sum, &last.sd(5))?;
    assert_eq!(puppets.reserved()?, [5, 5, 5]);
    Ok(())
}

/// A partner that adds what 6,000 customers of one bin with the event would bring, where it has 4,800 of all kinds: no limit is
/// broken. Held-out customers tell which round it was. Their loss rises by some 40 standard deviations of the noise in that
/// round and falls by more in the others, so the test fails by chance far less often than once in 10^9 runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_round_of_a_partner_that_lies_within_limits_is_named() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let attempt = Attempt::new(&puppets, proposal("lie")?)?;
    let mut trainer = attempt.trainer();
    attempt.until(&puppets, &mut trainer, 3)?;
    let mut sum = attempt.sum(&puppets, 3, &canonical_bytes(&trainer.input()))?;
    // The first bin of each feature, numbers having room for 34 and conditions for 3.
    for bin in [1, 35, 69, 72] {
        sum[bin] += 6000 * 32_767;
    }
    trainer.absorb(&sum, &attempt.sd(3))?;
    attempt.until(&puppets, &mut trainer, ROUNDS + 1)?;
    let changes = &trainer.evaluation().ok_or("the last round is absorbed")?.changes;
    let named: Vec<u32> = changes.iter().filter(|change| change.rose).map(|change| change.last).collect();
    assert_eq!(named, [3], "{changes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_asked_again_with_another_input_gives_the_same_bytes() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let attempt = Attempt::new(&puppets, proposal("twice")?)?;
    let mut trainer = attempt.trainer();
    attempt.until(&puppets, &mut trainer, 3)?;
    let honest = canonical_bytes(&trainer.input());
    let stored = attempt.contribution(&puppets, "bank", 3, &honest)?;
    assert_eq!(puppets.reserved()?, [2, 3, 2]);
    // Another model, one that does not fit, another round's; and each after a crash.
    for input in [other_model(&trainer.input()), Vec::new(), canonical_bytes(&attempt.trainer().input())] {
        assert_eq!(attempt.contribution(&puppets, "bank", 3, &input)?, stored);
        puppets.restart("bank")?;
        assert_eq!(attempt.contribution(&puppets, "bank", 3, &input)?, stored);
    }
    // Rounds before it as well.
    attempt.contribution(&puppets, "bank", 1, &honest)?;
    assert_eq!(puppets.reserved()?, [2, 3, 2], "at no charge");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_begin_with_the_first_and_its_input() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let attempt = Attempt::new(&puppets, proposal("early")?)?;
    let first = canonical_bytes(&attempt.trainer().input());
    let cases = [
        (0, &first[..], "round"),
        (2, &first, "before the one"),
        (5, &first, "before the one"),
        (6, &first, "before the one"),
        (7, &first, "no release"),
        (u32::MAX, &first, "no release"),
        (1, &[], "input"),
    ];
    for (round, input, expected) in cases {
        for partner in PARTNERS {
            refused(puppets.ask(partner, attempt.go(round, input)), expected);
        }
    }
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

/// Every node is killed between any two messages of a training, and every message comes twice: a charge and a byte string a
/// round.
#[tokio::test(flavor = "multi_thread")]
async fn kills_and_repetitions_at_every_step_of_every_round_cost_nothing_more() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let proposal = proposal("kills")?;
    let question = puppets.question("clients", &proposal)?;
    let Work::Rounds(plan) = question.work() else { panic!("a training was asked") };
    let mut trainer = Trainer::new(&plan.training, PARTNERS.len());
    let input = canonical_bytes(&trainer.input());
    let mut collector = puppets.collector(&proposal, &question, input);
    let mut sent: BTreeMap<(&str, u32), Vec<Vec<i64>>> = BTreeMap::new();
    loop {
        if collector.stage() == Stage::Complete {
            let round = collector.round();
            let mechanism = question.round(round).ok_or("a round")?;
            let sd: Vec<f64> = (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect();
            trainer.absorb(collector.sum().ok_or("complete")?, &sd)?;
            let Some(next) = question.round(round + 1) else { break };
            collector.next_round(canonical_bytes(&trainer.input()), next.layout().len());
        }
        puppets.step_with_kills(&mut collector, &proposal, |partner, came| {
            sent.entry((partner, came.round)).or_default().push(came.values);
        })?;
    }
    assert_eq!(sent.len(), PARTNERS.len() * ROUNDS as usize);
    assert!(sent.values().all(|vectors| vectors.len() == 2 && vectors[0] == vectors[1]), "the same bytes");
    assert_eq!(puppets.reserved()?, [ROUNDS as usize; 3]);
    for partner in PARTNERS {
        assert_eq!(puppets.world.count(partner, State::Computed)?, ROUNDS as usize);
    }
    // No vector alone resembles an answer.
    assert!(sent.values().all(|vectors| is_uniform(&vectors[0])));
    // One in five of 18,036 customers is held out: within 8 standard deviations of the choice and of the noise.
    let customers = trainer.evaluation().ok_or("the last round is absorbed")?.all.customers;
    let sd = 53.7 + (customers.high - customers.low) / 3.92;
    assert!((customers.value - 3607.2).abs() < 8.0 * sd, "{customers:?}");
    Ok(())
}

/// A partner that sends far too much is found in whichever round it does, though not who it was; the trainer stays where it
/// was, so that the round can be named and taken again without that partner.
#[tokio::test(flavor = "multi_thread")]
async fn sums_that_are_far_too_large_are_found_in_every_round() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let attempt = Attempt::new(&puppets, proposal("poison")?)?;
    let mut trainer = attempt.trainer();
    for round in 1..=ROUNDS {
        let input = canonical_bytes(&trainer.input());
        let honest = attempt.sum(&puppets, round, &input)?;
        for huge in [-(1i64 << 50), 1 << 50, 1_000_000_000 * 1024 * 3000] {
            let mut bank = attempt.contribution(&puppets, "bank", round, &input)?;
            bank.iter_mut().for_each(|value| *value = value.wrapping_add(huge));
            let mut sum = bank;
            for partner in ["retailer", "telecom"] {
                add(&mut sum, &attempt.contribution(&puppets, partner, round, &input)?);
            }
            let refusal = trainer.absorb(&sum, &attempt.sd(round)).unwrap_err().to_string();
            assert!(refusal.contains("participant"), "round {round}: {refusal}");
            assert_eq!(trainer.next() as u32 + 1, round);
            assert_eq!(canonical_bytes(&trainer.input()), input);
        }
        trainer.absorb(&honest, &attempt.sd(round))?;
    }
    assert!(trainer.evaluation().is_some());
    Ok(())
}

/// Without the lost partner, rounds that are complete are not asked again, and the one in which it was lost is charged once
/// more, under new masks.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_attempt_goes_on_behind_the_rounds_that_are_complete() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let mut proposed = proposal("lost")?;
    proposed.proposal.study.min_partners = Some(2);
    let one = Attempt::new(&puppets, proposed)?;
    let mut trainer = one.trainer();
    one.until(&puppets, &mut trainer, 3)?;
    let input = canonical_bytes(&trainer.input());
    let lost: Vec<Vec<i64>> = ["bank", "retailer"]
        .map(|partner| one.contribution(&puppets, partner, 3, &input))
        .into_iter()
        .collect::<Result<_, _>>()?;
    assert_eq!(puppets.reserved()?, [3, 3, 2]);
    let participants: Vec<String> = ["bank", "retailer"].map(String::from).into();
    let mut fewer = one.proposed.again(2, 2);
    fewer.proposal.participants = participants;
    let two = Attempt::new(&puppets, fewer)?;
    trainer.set_participants(2);
    for round in [1, 2] {
        for partner in ["bank", "retailer"] {
            refused(puppets.ask(partner, two.go(round, &input)), "round");
        }
    }
    assert_eq!(puppets.reserved()?, [3, 3, 2]);
    let again: Vec<Vec<i64>> = ["bank", "retailer"]
        .map(|partner| two.contribution(&puppets, partner, 3, &input))
        .into_iter()
        .collect::<Result<_, _>>()?;
    // Neither alone nor against what came before do they say anything; together they are the sum.
    for (before, now) in lost.iter().zip(&again) {
        let difference: Vec<i64> = before.iter().zip(now).map(|(a, b)| a.wrapping_sub(*b)).collect();
        assert!(is_uniform(now) && is_uniform(&difference));
    }
    let mut mixed = lost[0].clone();
    add(&mut mixed, &again[1]);
    assert!(is_uniform(&mixed));
    let mut sum = again[0].clone();
    add(&mut sum, &again[1]);
    trainer.absorb(&sum, &two.sd(3))?;
    two.until(&puppets, &mut trainer, ROUNDS + 1)?;
    assert!(trainer.evaluation().is_some());
    // Round 3 twice.
    assert_eq!(puppets.reserved()?, [6, 6, 2]);
    let numbers: Vec<Option<u32>> = puppets
        .world
        .ledger("bank")?
        .iter()
        .filter(|entry| entry.state() == State::Reserved)
        .filter_map(|entry| entry.study().map(|record| record.round))
        .collect();
    assert_eq!(numbers, [1, 2, 3, 3, 4, 5].map(Some));
    Ok(())
}

/// A coordinator that lies about what is complete, in order to have a round again or to have only one: each is charged as any
/// other, with noise of its own.
#[tokio::test(flavor = "multi_thread")]
async fn lies_about_complete_rounds_are_charged_like_truth() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let one = Attempt::new(&puppets, proposal("lies")?)?;
    let mut trainer = one.trainer();
    one.until(&puppets, &mut trainer, 3)?;
    let input = canonical_bytes(&trainer.input());
    let first = one.sum(&puppets, 3, &input)?;
    // "It was lost": the same round of the same model with the same partners.
    let two = Attempt::new(&puppets, one.proposed.again(2, 2))?;
    let second = two.sum(&puppets, 3, &input)?;
    assert_eq!(puppets.reserved()?, [4, 4, 4], "a second answer is a second charge");
    // Noise of its own: the difference has twice the variance of one. For 74 squares or more, their mean is beyond these
    // bounds in one of 10^10 runs (χ² by Wilson and Hilferty: 6.5 standard deviations either way).
    let variance = 2.0 * one.sd(3)[0].powi(2);
    let squares = first.iter().zip(&second).map(|(a, b)| (a.wrapping_sub(*b) as f64).powi(2)).sum::<f64>();
    let ratio = squares / variance / first.len() as f64;
    assert!(first.len() >= 74 && (0.25..2.5).contains(&ratio), "{ratio} over {} numbers", first.len());
    // "All but the last are done": a release of whatever model it likes. It is the plan's, charged, and the only one.
    let bins = trainer.input();
    let mut model = bins.clone();
    if let Parameters::Additive { intercept, .. } = &mut model.parameters {
        *intercept = 7.0;
    }
    model.checkpoints = vec![model.parameters.clone(); 4];
    let model = canonical_bytes(&model);
    let three = Attempt::new(&puppets, one.proposed.again(3, 4))?;
    for round in [0, 1, 4, 6, 7] {
        refused(puppets.ask("bank", three.go(round, &model)), "");
    }
    assert_eq!(puppets.reserved()?, [4, 4, 4]);
    three.sum(&puppets, ROUNDS, &model)?;
    assert_eq!(puppets.reserved()?, [5, 5, 5]);
    // And nobody joins for rounds that there are not.
    for (attempt, completed) in (4..).zip([ROUNDS, ROUNDS + 1, u32::MAX]) {
        refused(puppets.ask("bank", one.proposed.again(attempt, completed).propose()), "");
    }
    // What the ledger says was spent is what all of these cost.
    let spent = last_study(&puppets.world.ledger("bank")?)?.account.spent_after;
    let rho = |attempt: &Attempt, round: u32| attempt.question.round(round).map(|mechanism| mechanism.rho());
    let charged = [(&one, 1), (&one, 2), (&one, 3), (&two, 3), (&three, 5)];
    let charged = charged.into_iter().filter_map(|(attempt, round)| rho(attempt, round)).sum();
    assert_eq!(spent, charged);
    // An answer that nobody offered cannot be had in another round's name.
    let resend = one.proposed.again(3, 4).resend(5, Digest::ZERO);
    refused(puppets.ask("bank", resend), "did not offer");
    Ok(())
}
