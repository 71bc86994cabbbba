//! Seeds queries as an item of features queries: what is written, and what is refused.

use super::*;
use crate::learn::recipe::Values;

const FEATURES: &str = "SELECT customer_id, age FROM customers";

/// The condition as the plan of the new features query has it, which a schema must accept.
fn seed(features: &str, seeds: &str) -> Expr {
    let labelled = labelled(features, seeds, "is_seed", "seed_weight");
    let (sql, valued) = labelled.unwrap_or_else(|refusal| panic!("{seeds}\n{refusal}"));
    assert!(!valued);
    let plan = rows(&sql, &schema()).unwrap_or_else(|refusal| panic!("{sql}\n{refusal}"));
    let (before, after) = (rows(features, &schema()).unwrap(), plan.clone());
    assert_eq!((&before.filter, &before.outputs[..]), (&after.filter, &after.outputs[..before.outputs.len()]), "{sql}");
    let label = plan.outputs.last().unwrap();
    assert_eq!(
        (label.name.as_str(), &label.values, plan.outputs.len()),
        ("is_seed", &Values::Bool, before.outputs.len() + 1)
    );
    let Expr::Case(branches, otherwise) = label.expr.clone() else { panic!("{sql}") };
    let literal = |value| Expr::Literal(crate::language::expr::Value::Bool(value));
    assert_eq!((&branches[0].1, &*otherwise, branches.len()), (&literal(true), &literal(false), 1), "{sql}");
    branches.into_iter().next().unwrap().0
}

fn refused(features: &str, seeds: &str, words: &[&str]) {
    let message = labelled(features, seeds, "is_seed", "seed_weight").expect_err(seeds).to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}\n{seeds}");
    }
}

/// The condition means in the new query what it means by itself.
#[test]
fn the_condition_becomes_an_item() {
    let seeds = "SELECT customer_id FROM customers WHERE tier = 'gold'";
    let (sql, _) = labelled(FEATURES, seeds, "is_seed", "seed_weight").unwrap();
    let valued = seeds.replace("customer_id", "customer_id, spend / 2");
    assert_eq!(
        labelled(FEATURES, &valued, "is_seed", "seed_weight").unwrap(),
        (sql.replace(" FROM", ", spend / 2 AS seed_weight FROM"), true)
    );
    assert_eq!(
        sql,
        "SELECT customer_id, age, CASE WHEN tier = 'gold' THEN true ELSE false END AS is_seed FROM customers"
    );
    for condition in [
        "tier = 'gold'",
        "churned OR spend > 100 AND NOT \"Mixed\"",
        "(age + 1) * 2 >= 80 AND tier IN ('gold', 'silver')",
        "joined BETWEEN DATE '2020-01-01' AND DATE '2020-12-31' OR seen IS NULL",
        "CASE WHEN age < 30 THEN 'young' ELSE tier END = 'young'",
        "visits::BIGINT > -1 AND CAST(age AS DOUBLE PRECISION) / 2.5 < 20 AND ABS(change) <> 1",
        "EXTRACT(YEAR FROM joined) = 2020 AND COALESCE(\"größe\", 0) > 180 /* a comment */",
        "NULL",
    ] {
        let seeds = format!("SELECT customer_id FROM customers WHERE {condition}");
        let alone = rows(&format!("{FEATURES} WHERE {condition}"), &schema()).unwrap();
        assert_eq!(Some(seed(FEATURES, &seeds)), alone.filter, "{condition}");
    }
}

#[test]
fn the_features_query_keeps_its_shape() {
    seed(
        "SELECT c.customer_id AS id, c.spend / 12 AS \"per month\", c.\"Mixed\" FROM Customers AS c -- a comment\n\
         WHERE c.age >= 18 AND c.region <> 'north';",
        "SELECT C.customer_id FROM customers c WHERE c.tier = 'gold';",
    );
    seed("SELECT customer_id, age FROM \"customers\"", "SELECT customer_id FROM customers WHERE customers.churned");
}

/// Quotation marks in a value: written anew as they were, or not at all.
#[test]
fn quotations_mean_the_same_or_are_refused() {
    let mut schema = schema();
    let words = ["it's", "say \"yes\"", "a''b", "\\' THEN true ELSE true END AS is_seed FROM customers --"];
    let values = words.iter().map(|&word| word.into()).collect();
    schema.columns.insert("word".into(), ColumnType::Category { values });
    for (at, word) in words.iter().enumerate() {
        let condition = format!("word = '{}'", word.replace('\'', "''"));
        let seeds = format!("SELECT customer_id FROM customers WHERE {condition}");
        let alone = rows(&format!("{FEATURES} WHERE {condition}"), &schema).unwrap();
        match labelled(FEATURES, &seeds, "is_seed", "seed_weight") {
            Ok((sql, _)) => {
                let plan = rows(&sql, &schema).unwrap();
                let Some(Expr::Case(branches, _)) = plan.outputs.last().map(|output| &output.expr) else {
                    panic!("{sql}")
                };
                assert_eq!(Some(&branches[0].0), alone.filter.as_ref(), "{sql}");
            }
            Err(refusal) => assert!(at >= 2 && refusal.to_string().contains("quotation marks"), "{word}: {refusal}"),
        }
    }
}

#[test]
fn other_shapes_are_refused_with_what_to_write() {
    let shape = "Write SELECT privacy_unit FROM data_set WHERE condition";
    refused(FEATURES, "SELECT customer_id FROM customers", &["`seeds`", "every customer", shape]);
    let three = "SELECT customer_id, spend, age FROM customers WHERE churned";
    refused(FEATURES, three, &["`age`", "one number at most", shape]);
    let weight = "SELECT customer_id, age AS Seed_Weight FROM customers";
    refused(weight, "SELECT customer_id, spend FROM customers WHERE churned", &["`seed_weight` is how much"]);
    refused(FEATURES, "SELECT * FROM customers WHERE churned", &["named by the privacy unit", shape]);
    refused(FEATURES, "SELECT DISTINCT customer_id FROM customers WHERE churned", &["Delete DISTINCT"]);
    refused(FEATURES, "SELECT customer_id FROM customers WHERE churned LIMIT 5", &["Delete it"]);
    refused(FEATURES, "SELECT customer_id FROM customers WHERE churned GROUP BY customer_id", &["customer's row"]);
    refused(FEATURES, "SELECT customer_id FROM clients WHERE churned", &["one data set", "Write FROM customers"]);
    refused(FEATURES, "SELECT customer_id FROM customers c WHERE c.churned", &["Write FROM customers, as in"]);
    refused(FEATURES, "SELECT customer_id FROM customers JOIN clients ON true WHERE churned", &["joins"]);
    refused(FEATURES, "churned", &["begins with SELECT", shape]);
    refused(FEATURES, "", &["no query", shape]);
    let gold = "SELECT customer_id FROM customers WHERE tier = 'gold'";
    refused("SELECT customer_id, COUNT(*) AS n FROM customers GROUP BY customer_id", gold, &["`features`", "one row"]);
    refused(
        "SELECT customer_id, churned AS Is_Seed FROM customers",
        gold,
        &["`features`", "Write AS and another name"],
    );
    refused("SELECT customer_id, age FROM customers c", gold, &["Write FROM customers c"]);
}

#[test]
fn features_of_the_condition_are_named() {
    let plan =
        rows("SELECT customer_id, age, spend / 12 AS monthly, region FROM customers WHERE churned", &schema()).unwrap();
    let shared =
        |condition: &str| shared(&format!("SELECT customer_id FROM customers WHERE {condition}"), &plan, &schema());
    assert_eq!(shared("tier = 'gold' AND churned"), Ok(vec![]));
    assert_eq!(shared("SPEND > 10 OR age < 20"), Ok(vec!["age".into(), "monthly".into()]));
    assert!(shared("tier = 'golden'").unwrap_err().to_string().contains("`gold`"));
    assert!(shared("customer_id = 'a'").unwrap_err().to_string().contains("privacy unit"));
    let other = super::shared("SELECT age FROM customers WHERE churned", &plan, &schema()).unwrap_err().to_string();
    assert!(other.contains("`customer_id`"), "{other}");
}
