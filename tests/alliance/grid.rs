//! Replies leave at points of a public grid: whatever rows there are, and however long they took.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use entente_host::clock::Hands;
use entente_node::grid::{FIRST, point};
use entente_node::participant::Participant;
use entente_node::review::{Review, router};
use entente_node::sizes::Sizes;
use entente_node::store::LedgerStore;
use entente_protocols::ledger::entry::State;
use entente_protocols::wire::frame::Frame;
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt};
use entente_testing::{Error, PARTNERS, Proposed, Puppets, Signed, World, study};

use super::review::Page;

const COLUMNS: &str = "age = { type = \"int\", min = 18, max = 95 }";
const NANOSECOND: Duration = Duration::from_nanos(1);

/// A table of 400 customers with a row each, and one who has so many.
fn table(many: usize) -> String {
    let others: String = (0..400).map(|id| format!("{id},{}\n", 20 + id % 70)).collect();
    "id,age\n".to_owned() + &others + &"77,77\n".repeat(many)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The bank, by a clock that a test moves, and two others with whom it does studies.
struct Bank {
    puppets: Puppets,
    hands: Arc<Hands>,
    asked: u32,
}

impl Bank {
    async fn new() -> Result<Self, Error> {
        let founding = World::of(&PARTNERS).table("customers", COLUMNS, "id", |_| table(0));
        let mut puppets = Puppets::of(founding).await?;
        let hands = Arc::new(puppets.by_hand("bank")?);
        Ok(Self { puppets, hands, asked: 0 })
    }

    fn node(&self) -> &Participant {
        self.puppets.participant("bank")
    }

    /// The bank's table becomes another, which it has identified.
    fn has(&self, table: &str) -> Result<(), Error> {
        fs::write(self.puppets.world.folder("bank").path().join("data/customers.csv"), table)?;
        self.node().identify()?;
        Ok(())
    }

    /// A new question, as far as everybody has signed for it.
    fn signed(&mut self) -> Result<(Proposed, Signed), Error> {
        self.asked += 1;
        let name = format!("q{}", self.asked);
        let sql = format!("SELECT COUNT(*) AS n, SUM(age) AS age FROM customers WHERE age > {}", self.asked);
        let proposed = Proposed::new(study(&name).epsilon(0.1).sql(&sql).build()?);
        let signed = self.puppets.signatures(&proposed);
        Ok((proposed, signed))
    }

    /// So much time passes at the bank while it computes: between the charge and the vector that is stored.
    fn takes(&self, by: Duration) -> Result<(), Error> {
        let ledger = LedgerStore::open_read_only(&self.puppets.world.folder("bank").state("ledger.sqlite"))?;
        let ledger = std::sync::Mutex::new(ledger);
        let (hands, done) = (self.hands.clone(), AtomicBool::new(false));
        let looked_at = move || {
            let lines = ledger.lock().unwrap().some_after(0, usize::MAX >> 1).expect("a ledger");
            let of = |state| lines.iter().filter(|line| line.entry().is_ok_and(|entry| entry.state() == state)).count();
            if of(State::Reserved) > of(State::Computed) && !done.swap(true, Ordering::Relaxed) {
                hands.advance(by);
            }
        };
        self.hands.looked_at(Some(Arc::new(looked_at)));
        Ok(())
    }

    /// Has the bank compute, which takes so long; how long after it was told its reply is to leave.
    fn computes(&mut self, by: Duration) -> Result<Duration, Error> {
        let (proposed, signed) = self.signed()?;
        self.takes(by)?;
        assert_eq!(self.puppets.tell_alone("bank", proposed.go(&signed)).len(), 0, "it says nothing before its point");
        self.hands.looked_at(None);
        Ok(by + self.node().due().ok_or("something is held")?)
    }

    /// What leaves at the point that the bank waits for, and not before; a vector once it is witnessed.
    fn leaves(&self) -> Result<Vec<Frame>, Error> {
        self.hands.advance(self.node().due().ok_or("something is held")? - NANOSECOND);
        assert_eq!(self.node().leaves().len(), 0);
        self.hands.advance(NANOSECOND);
        Ok(self.puppets.witnessed("bank", self.puppets.frames(&self.node().leaves())))
    }
}

/// Whether it is one frame, of a contribution.
fn is_contribution(said: &[Frame]) -> bool {
    said.len() == 1 && said[0].is_contribution()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_leaves_at_the_same_point_whatever_rows_there_are_and_however_long_they_take() -> Result<(), Error> {
    let mut bank = Bank::new().await?;
    // One who is there with a row, with very many, and not at all.
    for (many, takes) in [(0, 0), (1, 3), (30_000, 19), (0, 0), (30_000, 7)] {
        bank.has(&table(many))?;
        assert_eq!(bank.computes(ms(takes))?, FIRST, "{many} rows of one customer, {takes} ms");
        assert!(is_contribution(&bank.leaves()?));
    }
    assert_eq!(bank.node().alarms().counts(), [("late", 0), ("unread", 0)]);
    Ok(())
}

/// However large it has become: rows come and go, and what is recorded stays until staff look.
#[tokio::test(flavor = "multi_thread")]
async fn the_size_that_replies_are_timed_by_is_no_matter_of_rows() -> Result<(), Error> {
    let bank = Bank::new().await?;
    let sizes = Sizes::of(&bank.puppets.world.folder("bank"));
    let first = sizes.rows("customers")?;
    assert_eq!(first, Some(1 << 10));
    for many in [600, 30_000, 1] {
        bank.has(&table(many))?;
        assert_eq!(sizes.rows("customers")?, first);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_late_leaves_at_the_next_point_and_is_an_alarm() -> Result<(), Error> {
    let mut bank = Bank::new().await?;
    assert_eq!(bank.computes(ms(40))?, point(ms(40)));
    assert!(point(ms(40)) > ms(48) && is_contribution(&bank.leaves()?));
    assert_eq!(bank.node().alarms().counts(), [("late", 1), ("unread", 0)]);
    let folder = bank.puppets.world.folder("bank");
    let review = Review::open(&folder, entente_node::load(&folder)?)?.counting(bank.node().alarms().clone());
    let page = Page::serve(&folder.state_folder(), router(Arc::new(review))).await?;
    let metrics = page.get("/metrics", &page.log_in().await?).await?;
    for line in ["entente_node_alarms_total{kind=\"late\"} 1", "entente_node_alarms_total{kind=\"unread\"} 0"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    Ok(())
}

/// Neither that the data cannot be read, nor that a round is refused, is said at another time than that it went well.
#[tokio::test(flavor = "multi_thread")]
async fn failures_leave_at_points_as_well() -> Result<(), Error> {
    let mut bank = Bank::new().await?;
    let (proposed, _) = bank.signed()?;
    assert_eq!(bank.puppets.tell_alone("bank", proposed.go(&Signed::default())).len(), 0);
    assert_eq!(bank.node().due(), Some(FIRST));
    let said = bank.leaves()?.pop().ok_or("a frame")?.decode()?;
    assert!(matches!(said, FromNode::Attempt(_, FromAttempt::Refused { .. })), "{said:?}");

    let (proposed, signed) = bank.signed()?;
    fs::remove_file(bank.puppets.world.folder("bank").path().join("data/customers.csv"))?;
    assert_eq!(bank.puppets.tell_alone("bank", proposed.go(&signed)).len(), 0);
    assert_eq!(bank.node().due(), Some(FIRST));
    assert!(is_contribution(&bank.leaves()?));
    assert_eq!(bank.node().alarms().counts(), [("late", 0), ("unread", 1)]);
    Ok(())
}

/// Whoever asks again and again, also on other connections, would see when it is ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_asked_for_again_keeps_its_point() -> Result<(), Error> {
    let mut bank = Bank::new().await?;
    let (proposed, signed) = bank.signed()?;
    let asks = |bank: &Bank| bank.puppets.tell_alone("bank", proposed.go(&signed)).len();
    assert_eq!(asks(&bank), 0);
    for left in [20, 15, 10] {
        bank.hands.advance(ms(5));
        bank.puppets.reconnect("bank");
        assert_eq!((asks(&bank), bank.node().due()), (0, Some(ms(left))));
    }
    assert!(is_contribution(&bank.leaves()?));
    assert_eq!((asks(&bank), bank.node().due()), (0, Some(FIRST)), "what has left leaves again, at a point after that");
    bank.puppets.reconnect("bank");
    assert_eq!(bank.leaves()?.len(), 0, "who asked is not there any more");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_for_a_study_that_has_ended_does_not_leave() -> Result<(), Error> {
    let mut bank = Bank::new().await?;
    let (proposed, signed) = bank.signed()?;
    assert_eq!(bank.puppets.tell_alone("bank", proposed.go(&signed)).len(), 0);
    assert_eq!(bank.node().due(), Some(FIRST));
    bank.puppets.tell_alone("bank", proposed.tells(ToAttempt::Abandoned { reason: "over".into(), is_over: true }));
    assert_eq!(bank.node().due(), None);
    Ok(())
}
