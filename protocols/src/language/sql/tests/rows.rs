//! Features queries: accepted ones with their plans, refused ones with their words.

use super::*;
use crate::language::expr::Comparison;
use crate::learn::recipe::Values;

fn accepted(sql: &str) -> RowsPlan {
    rows(sql, &schema()).unwrap_or_else(|refusal| panic!("{sql}\n{refusal}"))
}

/// What the values of one item are.
fn values(item: &str) -> Values {
    let plan = accepted(&format!("SELECT customer_id, {item} AS x FROM customers"));
    plan.outputs.into_iter().next().unwrap().values
}

/// Checks that the query is refused with the words, at the last place where it says `part`.
fn refused(sql: &str, part: &str, words: &[&str]) {
    let refusal = rows(sql, &schema()).expect_err(sql);
    let message = refusal.to_string();
    assert!(refusal.part.starts_with(part), "part of {sql}\n{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}\n{sql}");
    }
    let before = &sql[..sql.rfind(part).unwrap_or(sql.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    assert_eq!((refusal.line, refusal.column), (line as u64, column as u64), "{message}\n{sql}");
}

fn item(item: &str, part: &str, words: &[&str]) {
    refused(&format!("SELECT customer_id,\n {item}\nFROM customers"), part, words);
}

fn category(values: &[&str]) -> Values {
    Values::Category { values: values.iter().map(|&value| value.into()).collect() }
}

fn day(text: &str) -> i32 {
    Day::parse(text).unwrap().0
}

#[test]
fn the_features_of_the_contract() {
    let plan = accepted("SELECT customer_id, age, region, spend, churned FROM customers");
    assert_eq!((plan.dataset.as_str(), plan.privacy_unit.as_str()), ("customers", "customer_id"));
    assert_eq!(plan.filter, None);
    let read: Vec<&str> = plan.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(read, ["age", "churned", "region", "spend"]);
    let outputs: Vec<_> =
        plan.outputs.iter().map(|output| (output.name.as_str(), &output.expr, output.values.clone())).collect();
    let column = |name: &str| Expr::Column(name.into());
    assert_eq!(
        outputs,
        [
            ("age", &column("age"), Values::Number { low: 18.0, high: 95.0 }),
            ("region", &column("region"), category(&["north", "south", "east", "west"])),
            ("spend", &column("spend"), Values::Number { low: 0.0, high: 5000.0 }),
            ("churned", &column("churned"), Values::Bool),
        ]
    );
}

#[test]
fn conditions_qualifiers_and_names() {
    let plan = accepted(
        "SELECT c.AGE, c.spend / 12 AS monthly, (c.customer_id) AS id, mixed
         FROM Customers c WHERE joined < DATE '2025-01-01';",
    );
    let names: Vec<&str> = plan.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["age", "monthly", "Mixed"], "a column's name is as declared; the privacy unit is no output");
    assert!(matches!(plan.filter, Some(Expr::Compare(Comparison::Less, ..))));
    assert_eq!(plan.columns.len(), 4);
    // The same column twice, by two names; the privacy unit in any place.
    assert_eq!(accepted("SELECT age, age AS years, customer_id FROM customers").outputs.len(), 2);
}

#[test]
fn values_follow_from_public_bounds() {
    assert_eq!(values("visits * 2 - 1"), Values::Number { low: -1.0, high: 19.0 });
    assert_eq!(values("0 * change"), Values::Number { low: 0.0, high: 0.0 });
    assert_eq!(
        values("CASE WHEN clicks < 0 THEN 0 WHEN clicks > 9 THEN 9 ELSE clicks END"),
        Values::Number { low: 0.0, high: 9.0 }
    );
    assert_eq!(values("EXTRACT(MONTH FROM born)"), Values::Number { low: 1.0, high: 12.0 });
    assert_eq!(values("joined"), Values::Date { low: day("2015-01-01"), high: day("2030-12-31") });
    let month = Values::Date { low: day("2024-02-01"), high: day("2024-03-01") };
    assert_eq!(values("DATE_TRUNC('month', seen)"), month);
    assert_eq!(values("age >= 65"), Values::Bool);
    assert_eq!(
        values("CASE WHEN age < 30 THEN 'young' WHEN age < 60 THEN 'middle' END"),
        category(&["young", "middle"])
    );
    assert_eq!(
        values("CASE WHEN region = 'north' THEN 'gold' ELSE tier END"),
        category(&["gold", "silver"]),
        "each value once"
    );
    assert_eq!(values("CASE WHEN churned THEN 1 END"), Values::Number { low: 1.0, high: 1.0 });
}

#[test]
fn the_privacy_unit_is_an_item_and_nothing_else() {
    refused("SELECT age FROM customers", "SELECT age", &["`customer_id`", "Write SELECT customer_id"]);
    refused("SELECT customer_id FROM customers", "SELECT customer_id", &["no feature", "FROM data_set"]);
    refused("SELECT age, customer_id, Customer_ID AS b FROM customers", "Customer_ID", &["already", "Delete it"]);
    let words = ["privacy unit", "once, as an item of its own"];
    item("customer_id + 1 AS x", "customer_id", &words);
    refused(
        "SELECT customer_id,\n age FROM customers WHERE customers.customer_id = 5",
        "customers.customer_id",
        &words,
    );
    item("CASE WHEN customer_id = 5 THEN 1 END AS x", "customer_id", &words);
}

#[test]
fn one_row_per_customer_means_no_aggregates() {
    let words = ["one row per customer", "not available in this version", "one row per customer, and declare"];
    for call in
        ["COUNT(*)", "SUM(spend)", "avg(spend)", "MAX(spend)", "MEDIAN(spend)", "STDDEV(spend)", "CORR(age, spend)"]
    {
        item(call, call, &words);
        item(&format!("1 + {call} AS x"), call, &words);
    }
    item("COUNT(DISTINCT customer_id)", "COUNT(DISTINCT", &words);
    item("SUM(spend) OVER (PARTITION BY region)", "SUM(spend) OVER", &words);
    let refuse = |rest: &str, part: &str, words: &[&str]| {
        refused(&format!("SELECT customer_id, age FROM customers {rest}"), part, words);
    };
    refuse("GROUP BY region", "GROUP BY region", &words);
    refuse("GROUP BY ALL", "GROUP BY ALL", &words);
    refuse("GROUP BY ROLLUP(region)", "GROUP BY ROLLUP", &words);
    refuse("HAVING age > 5", "HAVING age > 5", &words);
    refuse("WHERE COUNT(*) > 5", "COUNT(*)", &words);
}

#[test]
fn clauses_and_forms() {
    let refuse = |rest: &str, part: &str, words: &[&str]| {
        refused(&format!("SELECT customer_id, age FROM customers {rest}"), part, words);
    };
    refuse("ORDER BY age", "ORDER BY age", &["the order of customers means nothing", "Delete it"]);
    refuse("LIMIT 5", "LIMIT 5", &["WHERE"]);
    refuse("JOIN orders USING (customer_id)", "FROM customers JOIN", &["joins"]);
    refuse("extra stuff", "stuff", &["should end here", "SELECT privacy_unit, feature"]);
    refused("SELECT DISTINCT customer_id, age FROM customers", "DISTINCT customer_id", &["Delete DISTINCT"]);
    refused("SELECT * FROM customers", "*", &["one by one", "the privacy unit and the columns"]);
    refused("SELECT customer_id, c.* FROM customers c", "c.*", &["one by one"]);
    refused("SELECT customer_id, age FROM orders", "orders", &["Write FROM customers"]);
    refused("UPDATE customers", "UPDATE", &["SELECT privacy_unit, feature"]);
    item("agee", "agee", &["Write `age`"]);
    item("suum(age)", "suum(age)", &["no such function", "ABS, COALESCE"]);
    item("ROW_NUMBER() OVER (ORDER BY age)", "ROW_NUMBER()", &["window functions", "without OVER"]);
    refuse("WHERE age", "age", &["where a condition is needed"]);
}

#[test]
fn values_without_public_bounds() {
    item("weight", "weight", &["`weight`", "Declare min and max", "node.toml at each partner"]);
    item("clicks AS c", "clicks", &["`clicks`", "Declare min and max"]);
    item("born", "born", &["`born`", "Declare min and max", "EXTRACT"]);
    item("spend / change AS x", "spend / change", &["divisor `change`"]);
    item("spend * 1e200 AS x", "spend * 1e200", &["another unit"]);
    item("NULL AS x", "NULL", &["always NULL", "Delete it"]);
    let mut schema = schema();
    let many = (0..1001).map(|value| value.to_string()).collect();
    schema.columns.insert("shop".into(), ColumnType::Category { values: many });
    let refusal = rows("SELECT customer_id, shop FROM customers", &schema).unwrap_err();
    assert!(refusal.why.contains("1001 values") && refusal.instead.contains("coarser"), "{refusal}");
}

#[test]
fn names_are_there_and_differ() {
    item("age + 1", "age + 1", &["no name of its own", "Write AS"]);
    item("age, age", "age", &["would be called `age`", "AS and another name"]);
    item("age AS Spend, spend", "spend", &["differ in case alone"]);
    item("age AS CUSTOMER_ID", "CUSTOMER_ID", &["would be called `CUSTOMER_ID`"]);
    item("age AS \"\"", "\"\"", &["name"]);
}

#[test]
fn too_much() {
    let many = |count: usize| (0..count).map(|at| format!(", age AS a{at}")).collect::<String>();
    assert_eq!(accepted(&format!("SELECT customer_id{} FROM customers", many(1000))).outputs.len(), 1000);
    let refusal = rows(&format!("SELECT customer_id{} FROM customers", many(1001)), &schema()).unwrap_err();
    assert!(refusal.why.contains("at most 1000 items"), "{refusal}");
    let wide = |at: usize| format!(", CASE WHEN age IN ({}1) THEN 1 END AS a{at}", "1,".repeat(3000));
    let wide: String = (0..9).map(wide).collect();
    let refusal = rows(&format!("SELECT customer_id{wide} FROM customers"), &schema()).unwrap_err();
    assert!(refusal.why.contains("parts"), "{refusal}");
}

#[test]
fn a_plan_survives_its_encoding() {
    let plan = accepted("SELECT customer_id, age, region, joined, churned FROM customers WHERE tier = 'gold'");
    let again: RowsPlan = crate::canonical::from_canonical(&crate::canonical::canonical_bytes(&plan), 1 << 20).unwrap();
    assert_eq!(again, plan);
}
