//! Accepted queries and the plans made of them.

use super::*;
use crate::language::expr::{Arithmetic, Comparison, DatePart, DateUnit, Value, ValueType};
use crate::language::sums::MeasureKind;

fn accepted(sql: &str) -> SumsPlan {
    planned(sql).unwrap_or_else(|refusal| panic!("{sql}\n{refusal}"))
}

/// The plan of an expression in WHERE or, for numbers, in SUM.
fn expr(text: &str) -> Expr {
    let filtered = planned(&format!("SELECT COUNT(*) FROM customers WHERE {text}"));
    match filtered {
        Ok(plan) => plan.filter.unwrap(),
        Err(_) => match accepted(&format!("SELECT SUM({text}) FROM customers")).sums.remove(0) {
            BaseSum::Values { expr, .. } => expr,
            other => panic!("{other:?}"),
        },
    }
}

/// The range of a number.
fn range(text: &str) -> (f64, f64) {
    match accepted(&format!("SELECT SUM({text}) FROM customers")).sums[0] {
        BaseSum::Values { low, high, .. } => (low, high),
        ref other => panic!("{other:?}"),
    }
}

/// The public values of a key.
fn domain(key: &str) -> Vec<String> {
    let plan = accepted(&format!("SELECT COUNT(*) FROM customers GROUP BY {key}"));
    plan.groups[0].domain.iter().map(ToString::to_string).collect()
}

fn column(name: &str) -> Box<Expr> {
    Box::new(Expr::Column(name.into()))
}

fn int(value: i64) -> Box<Expr> {
    Box::new(Expr::Literal(Value::Int(value)))
}

fn float(value: f64) -> Box<Expr> {
    Box::new(Expr::Literal(Value::Float(value)))
}

fn text(value: &str) -> Box<Expr> {
    Box::new(Expr::Literal(Value::Text(value.into())))
}

#[test]
fn the_query_of_the_contract() {
    let plan = accepted(
        "SELECT region, COUNT(*) AS rows, COUNT(DISTINCT customer_id) AS customers, SUM(spend) AS spend, AVG(age) AS age
         FROM customers WHERE joined < DATE '2025-01-01' GROUP BY region;",
    );
    assert_eq!((plan.dataset.as_str(), plan.privacy_unit.as_str()), ("customers", "customer_id"));
    let read: Vec<&str> = plan.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(read, ["age", "joined", "region", "spend"]);
    let until = Box::new(Expr::Literal(Value::Date(Day::parse("2025-01-01").unwrap())));
    assert_eq!(plan.filter, Some(Expr::Compare(Comparison::Less, column("joined"), until)));
    assert_eq!(plan.groups.len(), 1);
    assert_eq!((plan.shown.keys[0].name.as_str(), plan.cells()), ("region", 4));
    let value = |name: &str, low, high, center| BaseSum::Values { expr: *column(name), low, high, center };
    let sums = [
        BaseSum::Rows,
        BaseSum::Customers,
        BaseSum::Present(*column("age")),
        value("age", 18.0, 95.0, 56.5),
        value("spend", 0.0, 5000.0, 0.0),
    ];
    assert_eq!(plan.sums, sums);
    let measures: Vec<_> =
        plan.shown.measures.iter().map(|measure| (measure.name.as_str(), measure.kind.clone())).collect();
    let expected = [
        ("rows", MeasureKind::CountRows { rows: 0 }),
        ("customers", MeasureKind::CountCustomers { customers: 1 }),
        ("spend", MeasureKind::Sum { sum: 4 }),
        ("age", MeasureKind::Average { sum: 3, count: 2 }),
    ];
    assert_eq!(measures, expected);
    assert_eq!(plan.shown.outputs[..2], [Output::Group(0), Output::Measure(0)]);
    assert_eq!((plan.max_groups, plan.max_rows), (1, 1));
}

#[test]
fn equal_sums_are_shared() {
    let plan = accepted(
        "SELECT COUNT(*) AS a, COUNT(*) AS b, SUM(spend) AS c, sum( customers.spend ) AS d, AVG(visits), AVG(visits + 0)
         FROM customers",
    );
    assert_eq!(plan.sums.len(), 1 + 1 + 2 + 2);
    assert_eq!(plan.shown.measures[2].kind, plan.shown.measures[3].kind);
    assert_eq!(plan.shown.measures[4].name, "avg_visits");
    assert_eq!(plan.shown.measures[5].name, "AVG(visits + 0)");
}

#[test]
fn default_names() {
    let plan = accepted(
        "SELECT region, EXTRACT(YEAR FROM joined), COUNT(*), COUNT(DISTINCT customer_id), SUM(spend), SUM(spend*  2)
         FROM customers GROUP BY region, EXTRACT( year FROM joined )",
    );
    let names: Vec<&str> = plan.shown.keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["region", "EXTRACT( year FROM joined )"]);
    let names: Vec<&str> = plan.shown.measures.iter().map(|measure| measure.name.as_str()).collect();
    assert_eq!(names, ["count", "customers", "sum_spend", "SUM(spend* 2)"]);
}

#[test]
fn keys_by_alias_ordinal_and_expression() {
    let bins = "CASE WHEN age < 30 THEN 'young' WHEN age < 60 THEN 'middle' ELSE 'young' END";
    for key in ["1", "\"bin\"", "BIN", "(1)", bins] {
        let plan = accepted(&format!("SELECT {bins} AS bin, COUNT(*) FROM customers c GROUP BY {key}"));
        assert_eq!(plan.shown.keys[0].name, "bin");
        assert_eq!(plan.groups[0].domain, [Value::Text("young".into()), Value::Text("middle".into())]);
        assert_eq!(plan.shown.outputs, [Output::Group(0), Output::Measure(0)]);
    }
    // An alias may repeat the name of the column that it is; equal keys are one key; a key need not be shown.
    let plan = accepted("SELECT COUNT(*), c.region AS region FROM customers AS c GROUP BY region, 2, c.region, tier");
    assert_eq!((plan.groups.len(), plan.cells()), (2, 8));
    assert_eq!(plan.shown.outputs, [Output::Measure(0), Output::Group(0)]);
}

#[test]
fn domains_come_from_the_schema() {
    assert_eq!(domain("region"), ["north", "south", "east", "west"]);
    assert_eq!(domain("churned"), ["false", "true"]);
    assert_eq!(domain("spend > 10"), ["false", "true"]);
    assert_eq!(domain("age").len(), 78);
    assert_eq!(domain("visits * 10 - 1").len(), 101);
    assert_eq!(domain("EXTRACT(DOW FROM born)"), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(domain("DATE_PART('quarter', joined)").len(), 4);
    assert_eq!(domain("EXTRACT(YEAR FROM joined)").len(), 16);
    assert_eq!(domain("DATE_TRUNC('month', joined)").len(), 192);
    assert_eq!(domain("DATE_TRUNC('QUARTER', seen)"), ["2024-01-01"]);
    assert_eq!(domain("seen"), ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02"]);
    assert_eq!(domain("COALESCE(region, 'none', 'north')"), ["north", "south", "east", "west", "none"]);
    assert_eq!(domain("CASE WHEN churned THEN tier END"), ["gold", "silver"]);
    assert_eq!(domain("CASE tier WHEN 'gold' THEN 2 WHEN 'silver' THEN 1 ELSE NULL END"), ["2", "1"]);
    assert_eq!(domain("CASE WHEN age < 30 THEN 1 WHEN age < 60 THEN 2.5 ELSE 1 END"), ["1", "2.5"]);
    assert_eq!(domain("CASE WHEN clicks < 0 THEN 0 WHEN clicks > 3 THEN 3 ELSE clicks END"), ["0", "1", "2", "3"]);
    assert_eq!(domain("CASE WHEN spend < 1 THEN 'a' ELSE CASE WHEN spend < 2 THEN 'b' ELSE 'a' END END"), ["a", "b"]);
}

#[test]
fn ranges_follow_from_declared_bounds() {
    assert_eq!(range("age - visits"), (8.0, 95.0));
    assert_eq!(range("-change * 2"), (-2.0, 3.0));
    assert_eq!(range("change * change"), (-1.5, 2.25));
    assert_eq!(range("ABS(change)"), (0.0, 1.5));
    assert_eq!(range("spend / 4"), (0.0, 1250.0));
    assert_eq!(range("spend / visits"), (0.0, 5000.0));
    assert_eq!(range("spend / (visits - 5)"), (-5000.0, 5000.0));
    assert_eq!(range("spend / age"), (0.0, 5000.0 / 18.0));
    assert_eq!(range("spend / CASE WHEN change >= 0.5 THEN change END"), (0.0, 10_000.0));
    assert_eq!(range("CASE WHEN churned THEN 0 ELSE visits END"), (0.0, 10.0));
    assert_eq!(range("CASE WHEN weight < 0 THEN 0 WHEN weight > 9 THEN 9 ELSE weight END"), (0.0, 9.0));
    assert_eq!(range("CASE WHEN clicks BETWEEN 1 AND 5 THEN clicks END"), (1.0, 5.0));
    assert_eq!(range("CAST(churned AS BIGINT)"), (0.0, 1.0));
    assert_eq!(range("change::int"), (-1.0, 1.0));
    assert_eq!(range("EXTRACT(YEAR FROM joined)"), (2015.0, 2030.0));
    assert_eq!(range("COALESCE(visits, -1)"), (-1.0, 10.0));
    assert_eq!(range("NULLIF(visits, 0)"), (0.0, 10.0));
    assert_eq!(range("größe"), (0.0, 250.0));
    assert_eq!(range("0 * age"), (0.0, 0.0));
}

#[test]
fn conversions_are_explicit_in_the_plan() {
    let cast = |expr| Box::new(Expr::Cast(expr, ValueType::Float));
    assert_eq!(expr("age > 20"), Expr::Compare(Comparison::Greater, column("age"), int(20)));
    assert_eq!(expr("age > 20.0"), expr("age > 20"));
    assert_eq!(expr("20.0 < age"), expr("20 < age"));
    assert_eq!(range("CASE WHEN clicks BETWEEN 1.0 AND 5.0 THEN clicks END"), (1.0, 5.0));
    // From 2^53 on, a whole number that is read as a number may be another one.
    let limit = 9_007_199_254_740_992.0;
    assert_eq!(
        expr("clicks = 9007199254740992.0"),
        Expr::Compare(Comparison::Equal, cast(column("clicks")), float(limit))
    );
    assert_eq!(expr("clicks = 9007199254740991.0"), expr("clicks = 9007199254740991"));
    assert_eq!(expr("age > 20.5"), Expr::Compare(Comparison::Greater, cast(column("age")), float(20.5)));
    assert_eq!(expr("spend > 20"), Expr::Compare(Comparison::Greater, column("spend"), float(20.0)));
    assert_eq!(expr("age / 2"), Expr::Arithmetic(Arithmetic::Divide, cast(column("age")), float(2.0)));
    assert_eq!(expr("- age"), Expr::Arithmetic(Arithmetic::Subtract, int(0), column("age")));
    assert_eq!(
        expr("clicks > -9223372036854775808"),
        Expr::Compare(Comparison::Greater, column("clicks"), int(i64::MIN))
    );
    assert_eq!(expr("joined >= '2020-02-29'"), expr("joined >= DATE '2020-02-29'"));
    assert_eq!(expr("joined >= '2020-02-29'::date"), expr("joined >= CAST('2020-02-29' AS DATE)"));
}

#[test]
fn conveniences_are_written_out() {
    let equal = |value| Box::new(Expr::Compare(Comparison::Equal, column("region"), text(value)));
    let either = Expr::Or(equal("east"), equal("north"));
    assert_eq!(expr("region IN ('north', 'east')"), either);
    assert_eq!(expr("region NOT IN ('north', 'east')"), Expr::Not(Box::new(either)));
    let bound = |op, value| Box::new(Expr::Compare(op, column("age"), int(value)));
    let between = Expr::And(bound(Comparison::LessOrEqual, 30), bound(Comparison::GreaterOrEqual, 20));
    assert_eq!(expr("age BETWEEN 20 AND 30"), between);
    assert_eq!(expr("NULL IS NULL"), Expr::Literal(Value::Bool(true)));
    assert_eq!(expr("age = NULL"), Expr::Null(ValueType::Bool));
    let present = Expr::Not(Box::new(Expr::IsNull(column("visits"))));
    assert_eq!(expr("COALESCE(visits, 0)"), Expr::Case(vec![(present, *column("visits"))], int(0)));
    let zero = Expr::Compare(Comparison::Equal, column("visits"), int(0));
    let null = Expr::Null(ValueType::Int);
    assert_eq!(expr("NULLIF(visits, 0)"), Expr::Case(vec![(zero, null)], column("visits")));
    assert_eq!(
        expr("DATE_TRUNC('month', joined) = DATE '2020-02-01'"),
        Expr::Compare(
            Comparison::Equal,
            Box::new(Expr::DateTrunc(DateUnit::Month, column("joined"))),
            Box::new(Expr::Literal(Value::Date(Day::parse("2020-02-01").unwrap()))),
        )
    );
    let month = Box::new(Expr::DatePart(DatePart::Month, column("born")));
    assert_eq!(expr("DATE_PART('month', born) = 2"), Expr::Compare(Comparison::Equal, month, int(2)));
}

#[test]
fn precedence_is_that_of_sql() {
    assert_eq!(expr("NOT churned AND age = 1 + 2 * 3"), expr("(NOT churned) AND (age = (1 + (2 * 3)))"));
    assert_eq!(expr("churned OR churned AND age > 1"), expr("churned OR (churned AND age > 1)"));
    assert_eq!(expr("NOT age IS NULL"), expr("NOT (age IS NULL)"));
    assert_eq!(expr("age BETWEEN 1 AND 2 AND churned"), expr("(age BETWEEN 1 AND 2) AND churned"));
}

#[test]
fn names_are_the_same_in_any_case_unless_quoted() {
    assert_eq!(expr("Age > 20"), expr("\"age\" > 20"));
    assert_eq!(expr("mixed"), expr("\"Mixed\""));
    assert!(planned("SELECT COUNT(*) FROM customers WHERE \"AGE\" > 20").is_err());
    assert!(planned("SELECT COUNT(*) FROM Customers WHERE customers.age > 20").is_ok());
    assert!(planned("SELECT COUNT(DISTINCT C.CUSTOMER_ID) FROM \"customers\" c").is_ok());
}

#[test]
fn limits_are_taken_over() {
    let limits = |max_groups, max_rows| Limits { max_groups, max_rows };
    let plan = |limits| plan("SELECT region, COUNT(*) FROM customers GROUP BY 1", limits, &schema());
    let taken = |limits| plan(limits).map(|plan| (plan.max_groups, plan.max_rows)).map_err(|refusal| refusal.part);
    assert_eq!(taken(limits(None, None)), Ok((1, 1)));
    assert_eq!(taken(limits(Some(3), Some(1 << 20))), Ok((3, 1 << 20)));
    assert_eq!(taken(limits(Some(9), Some(20))), Ok((4, 20)));
    assert_eq!(taken(limits(Some(0), None)), Err("max_groups_per_customer = 0".into()));
    assert_eq!(taken(limits(None, Some(0))), Err("max_rows_per_customer = 0".into()));
    assert_eq!(taken(limits(None, Some((1 << 20) + 1))), Err("max_rows_per_customer = 1048577".into()));
}

#[test]
fn the_data_set_is_found_before_there_is_a_schema() {
    assert_eq!(dataset_name("SELECT nonsense FROM Orders o"), Ok("Orders".into()));
    assert_eq!(dataset_name("SELECT customer_id, age FROM people WHERE age > 3"), Ok("people".into()));
    assert_eq!(dataset_name("SELECT * FROM people"), Ok("people".into()), "left to the planner");
    assert!(dataset_name("SELECT 1").is_err());
    assert!(dataset_name("SELECT 1 FROM a, b").is_err());
}

#[test]
fn long_lists_are_not_deep() {
    let list = (0..500).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
    let plan = accepted(&format!("SELECT COUNT(*) FROM customers WHERE age IN ({list})"));
    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::Or(left, right) => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }
    assert_eq!(depth(&plan.filter.unwrap()), 9);
}

#[test]
fn every_accepted_plan_has_a_layout() {
    for sum in ["spend", "visits * 1e99", "visits * 1e-99", "0", "spend / 3 - 17", "big"] {
        for measure in ["SUM", "AVG"] {
            let plan = accepted(&format!("SELECT {measure}({sum}) FROM customers"));
            assert_eq!(plan.layout().len(), plan.sums.len());
        }
    }
}
