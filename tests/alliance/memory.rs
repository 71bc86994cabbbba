//! A node in the memory that it has to do with: a process of its own, to which the system gives no more.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use entente::store::StudyState;
use entente_testing::{Draft, Error, PARTNERS, SETTINGS, World, study, until};
use tokio::time::sleep;

use super::processes::{Running, binary};

const STUDIES: u32 = 20;
/// Of the node that is limited; the others have few.
const ROWS: u32 = 3_000_000;
const FEATURES: u32 = 10;
/// What its process may take, and what it takes itself for studies on such a machine: half of it.
const LIMIT: u64 = 4 << 30;
const LONG: Duration = Duration::from_secs(3600);

fn rows(count: u32) -> String {
    let mut text = "id,region,left".to_owned();
    (0..FEATURES).for_each(|feature| write!(text, ",x{feature}").expect("it is a string"));
    for id in 0..count {
        write!(text, "\n{id},{},{}", ["north", "south"][id as usize % 2], (id / 7).is_multiple_of(3))
            .expect("it is a string");
        for feature in 0..FEATURES {
            let number = id.wrapping_mul(2_654_435_761).rotate_left(feature * 3) % 8000;
            write!(text, ",{}.{:03}", number / 1000, number % 1000).expect("it is a string");
        }
    }
    text + "\n"
}

/// Queries and trainings of all kinds, over all columns.
fn asked(number: u32) -> Draft {
    let study = study(&format!("study-{number}")).epsilon(0.2).wait_seconds(3600);
    let names: Vec<String> = (0..FEATURES).map(|feature| format!("x{feature}")).collect();
    // A question of its own each: none is answered by what is stored.
    let which = format!("FROM customers WHERE x0 < 7.{number:02}");
    let features = format!("SELECT id, left, {} {which}", names.join(", "));
    let train = |model: &str| study.clone().train(model, &features).with("target", "left").with("rounds", 3);
    match number % 4 {
        0 => train("logistic"),
        1 => train("additive"),
        _ => {
            let sums: Vec<String> = names.iter().map(|name| format!("SUM({name}) AS s_{name}")).collect();
            study.sql(&format!("SELECT region, COUNT(*) AS n, {} {which} GROUP BY region", sums.join(", ")))
        }
    }
}

/// A node's real program, which may take so many bytes.
fn limited(dir: &std::path::Path, bytes: u64) -> Result<Running, Error> {
    let limits = format!("ulimit -v {}; exec \"$0\" \"$@\"", bytes >> 10);
    let mut node = Command::new("sh");
    node.args(["-c", &limits]).arg(binary("entente-node")).args(["serve", "--dir"]).arg(dir);
    Ok(Running(node.stdout(Stdio::null()).spawn()?))
}

/// None is given up and the node is not killed. Prints how much memory it took at its peak.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and gigabytes; docs/benchmarks.md has its figure"]
async fn twenty_studies_at_once_end_at_a_node_of_four_gibibytes() -> Result<(), Error> {
    let mut columns =
        "region = { type = \"category\", values = [\"north\", \"south\"] }\nleft = { type = \"bool\" }".to_owned();
    for feature in 0..FEATURES {
        write!(columns, "\nx{feature} = {{ type = \"float\", min = 0, max = 8 }}")?;
    }
    let founding =
        World::of(&PARTNERS)
            .settings(|_| SETTINGS.to_owned())
            .table("customers", &columns, "id", |partner| rows(if partner == "bank" { ROWS } else { 400 }));
    let mut world = founding.enrolled().await?;
    let dir = world.folder("bank").path().to_owned();
    let (path, memory) = (world.folder("bank").config(), (LIMIT / 2) >> 20);
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replacen("[node]\n", &format!("[node]\nmemory_mib = {memory}\n"), 1))?;
    let mut bank = limited(&dir, LIMIT)?;
    for partner in PARTNERS.iter().filter(|partner| **partner != "bank") {
        world.start(partner).await?;
    }
    until("the bank connects", async || {
        Ok(world.client().await?.partners().await?.partners.iter().any(|one| one.name == "bank" && one.connected))
    })
    .await?;
    for number in 0..STUDIES {
        world.client().await?.submit(asked(number).build()?).await?;
    }
    let began = Instant::now();
    while world.client().await?.studies().await?.iter().any(|study| study.state == StudyState::Running) {
        assert!(bank.is_alive()?, "the node has been killed");
        assert!(began.elapsed() < LONG, "they take too long");
        sleep(Duration::from_millis(200)).await;
    }
    for shown in world.client().await?.studies().await? {
        assert_eq!(shown.state, StudyState::Done, "{}: {:?} {:?}", shown.name, shown.reason, shown.notes);
        assert_eq!(shown.attempt, 1, "{}: {:?}", shown.name, shown.notes);
    }
    assert!(bank.is_alive()?, "the node has been killed");
    println!(
        "{STUDIES} studies over {ROWS} rows in {:.0} s: at most {} MiB, of {} MiB that it may take",
        began.elapsed().as_secs_f64(),
        bank.peak_mib()?,
        LIMIT >> 20
    );
    Ok(())
}
