//! Alliances over a small table, whose numbers are known.

use entente_protocols::ledger::entry::State;
use entente_testing::{Draft, Error, Founding, PARTNERS, World, study};
use serde_json::Value;

/// Customers in north and south, at each of [`PARTNERS`].
pub const CUSTOMERS: [[u32; 2]; 3] = [[300, 200], [500, 100], [200, 300]];

/// Three partners with customers in two regions.
pub fn partners() -> Founding<'static> {
    let region = "region = { type = \"category\", values = [\"north\", \"south\"] }";
    World::of(&PARTNERS).table("customers", region, "id", |partner| {
        let place = PARTNERS.iter().position(|known| *known == partner).expect("one of the three");
        let [north, south] = CUSTOMERS[place];
        let row = |id: u32| format!("{id},{}\n", if id < north { "north" } else { "south" });
        "id,region\n".to_owned() + &(0..north + south).map(row).collect::<String>()
    })
}

/// How many customers there are in each region.
pub fn by_region(name: &str) -> Draft {
    study(name).sql("SELECT region, COUNT(DISTINCT id) AS customers FROM customers GROUP BY region")
}

/// The counts of a result are those of these partners. Its noise has a standard deviation of some six customers: ten of them are
/// beyond all chance.
pub fn counts_are_of(result: &Value, partners: &[&str]) -> Result<(), Error> {
    assert_eq!(result["participants"], serde_json::json!(partners));
    for (region, name) in ["north", "south"].into_iter().enumerate() {
        let places = PARTNERS.iter().zip(CUSTOMERS).filter(|(partner, _)| partners.contains(partner));
        let expected = f64::from(places.map(|(_, customers)| customers[region]).sum::<u32>());
        let found = result["rows"][region]["customers"]["value"].as_f64().ok_or("a number")?;
        assert_eq!(result["rows"][region]["region"], name);
        assert!((found - expected).abs() < 60.0, "{found} is not near {expected}");
    }
    Ok(())
}

/// How many attempts a study took.
pub async fn attempts(world: &World, result: &Value) -> Result<u32, Error> {
    Ok(world.client().await?.show(result["study"]["id"].as_str().ok_or("an id")?).await?.attempt)
}

/// Each of these partners was charged so often.
pub fn charged(world: &World, partners: &[&str], times: usize) -> Result<(), Error> {
    for partner in partners {
        assert_eq!(world.count(partner, State::Reserved)?, times, "{partner}");
    }
    Ok(())
}
