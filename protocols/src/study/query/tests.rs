//! One question however it is written, and another one where anything is asked otherwise.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::outcome;
use crate::language::expr::Value;
use crate::language::schema::{ColumnType, DatasetSchema};
use crate::language::sums::{Output, SumsPlan};
use crate::privacy::interval::Estimate;
use crate::study::Question;
use crate::study::parts::Work;
use crate::testing;

const KEYS: [&str; 3] =
    ["region", "CASE WHEN age < 30 THEN 'young' WHEN age < 60 AND member THEN 'member' END", "member"];
const MEASURES: [&str; 6] = [
    "COUNT(*)",
    "COUNT(DISTINCT customer)",
    "SUM(spend)",
    "AVG(spend)",
    "AVG(age)",
    "SUM(CASE WHEN member THEN age END)",
];
/// Conditions, each in several forms that say the same.
const CONDITIONS: [[&str; 3]; 4] = [
    ["age > 20", "age > 20.0", "age > 20 AND age > 20"],
    ["region IN ('north', 'south')", "region IN ('south', 'north', 'south')", "(region = 'south' OR region = 'north')"],
    [
        "(member OR spend < 10 OR age = 7)",
        "(age = 7 OR (spend < 10 OR member))",
        "((age = 7.0 OR member) OR spend < 10)",
    ],
    ["age BETWEEN 18 AND 80", "age <= 80 AND age >= 18", "(age BETWEEN 18 AND 80 AND age <= 80)"],
];

fn schema() -> DatasetSchema {
    let words = |values: &[&str]| values.iter().map(|&value| value.into()).collect();
    let columns = [
        ("region", ColumnType::Category { values: words(&["north", "south", "east"]) }),
        ("age", ColumnType::Int { min: Some(18), max: Some(95) }),
        ("spend", ColumnType::Float { min: Some(0.0), max: Some(5000.0) }),
        ("member", ColumnType::Bool),
    ];
    let columns = columns.map(|(name, column_type)| (name.to_owned(), column_type)).into();
    DatasetSchema { name: "customers".into(), privacy_unit: "customer".into(), columns }
}

/// A question as somebody writes it: numbers are positions in [`KEYS`], [`MEASURES`] and [`CONDITIONS`].
#[derive(Clone, Debug)]
struct Written {
    keys: Vec<usize>,
    items: Vec<Item>,
    conditions: Vec<(usize, usize)>,
    prefix: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Key(usize),
    Measure(usize),
}

impl Written {
    fn sql(&self) -> String {
        let item = |(at, item): (usize, &Item)| {
            let text = match *item {
                Item::Key(key) => KEYS[key],
                Item::Measure(measure) => MEASURES[measure],
            };
            format!("{text} AS {}{at}", self.prefix)
        };
        let items: Vec<String> = self.items.iter().enumerate().map(item).collect();
        let mut sql = format!("SELECT {} FROM customers", items.join(", "));
        let conditions: Vec<&str> = self.conditions.iter().map(|&(at, form)| CONDITIONS[at][form]).collect();
        if !conditions.is_empty() {
            sql += &format!(" WHERE {}", conditions.join(" AND "));
        }
        let keys: Vec<&str> = self.keys.iter().map(|&key| KEYS[key]).collect();
        if !keys.is_empty() {
            sql += &format!(" GROUP BY {}", keys.join(", "));
        }
        sql
    }

    fn question(&self) -> Question {
        asked(&self.sql())
    }

    /// What it is told of a sum: by what each item is, whatever it is called, and by row.
    fn answer(&self, sum: &[i64]) -> Vec<(BTreeMap<usize, Value>, BTreeMap<usize, Estimate>)> {
        let question = self.question();
        let Work::Sums(plan) = question.work() else { panic!("a query was asked") };
        let rows = outcome::rows(plan, question.mechanism(), sum).unwrap();
        let told = |row: outcome::Row| {
            let (mut keys, mut measures) = (BTreeMap::new(), BTreeMap::new());
            for (at, (item, output)) in self.items.iter().zip(&plan.shown.outputs).enumerate() {
                let name = match (*item, *output) {
                    (Item::Key(key), Output::Group(shown)) => {
                        keys.insert(key, row.keys[shown].clone());
                        &plan.shown.keys[shown].name
                    }
                    (Item::Measure(measure), Output::Measure(shown)) => {
                        measures.insert(measure, row.measures[shown]);
                        &plan.shown.measures[shown].name
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(*name, format!("{}{at}", self.prefix));
            }
            (keys, measures)
        };
        let mut told: Vec<_> = rows.into_iter().map(told).collect();
        // The last of its own keys runs fastest: that is the order of their values.
        let place = |keys: &BTreeMap<usize, Value>| -> Vec<usize> {
            let of = |key: &usize| {
                let shown = plan.shown.keys.iter().find(|shown| is_of(plan, shown.group, *key)).unwrap();
                plan.groups[shown.group].domain.iter().position(|value| *value == keys[key]).unwrap()
            };
            self.keys.iter().map(of).collect()
        };
        assert!(told.is_sorted_by_key(|(keys, _)| place(keys)), "{}", self.sql());
        told.sort_by_key(|(keys, _)| keys.values().map(ToString::to_string).collect::<Vec<_>>());
        told
    }
}

/// Whether a group of the plan is this key, by its values.
fn is_of(plan: &SumsPlan, group: usize, key: usize) -> bool {
    let first = ["north", "young", "false"][key];
    plan.groups[group].domain[0].to_string() == first
}

fn asked(sql: &str) -> Question {
    let study = testing::study("asked").query(sql).build().unwrap();
    Question::new(&study, &schema(), &["p1", "p2", "p3"].map(str::to_owned), 0)
        .unwrap_or_else(|why| panic!("{sql}: {why}"))
}

/// Two ways to write the same question.
fn twice() -> impl Strategy<Value = (Written, Written)> {
    let some =
        |count: usize, least: usize| proptest::sample::subsequence((0..count).collect::<Vec<_>>(), least..=count);
    let chosen = (some(KEYS.len(), 0), some(MEASURES.len(), 1), some(CONDITIONS.len(), 0));
    chosen.prop_flat_map(|chosen| (written(chosen.clone(), "a"), written(chosen, "b")))
}

fn written(
    (keys, measures, conditions): (Vec<usize>, Vec<usize>, Vec<usize>),
    prefix: &'static str,
) -> impl Strategy<Value = Written> {
    let items: Vec<Item> = keys.iter().copied().map(Item::Key).chain(measures.into_iter().map(Item::Measure)).collect();
    let forms: Vec<_> = conditions.into_iter().map(|at| (Just(at), 0..CONDITIONS[at].len())).collect();
    let conditions = forms.prop_flat_map(|conditions| Just(conditions).prop_shuffle());
    (Just(keys).prop_shuffle(), Just(items).prop_shuffle(), conditions)
        .prop_map(move |(keys, items, conditions)| Written { keys, items, conditions, prefix })
}

proptest! {
    #[test]
    fn one_question_has_one_key_and_one_answer((one, other) in twice(), seed in any::<i64>()) {
        let (first, second) = (one.question(), other.question());
        prop_assert_eq!(first.answer_key(), second.answer_key(), "{} | {}", one.sql(), other.sql());
        prop_assert_eq!(first.mechanism(), second.mechanism());
        let number = |at: usize| (at as i64).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64).wrapping_add(seed) >> 24;
        let sum: Vec<i64> = (0..first.mechanism().layout().len()).map(number).collect();
        prop_assert_eq!(one.answer(&sum), other.answer(&sum), "{} | {}", one.sql(), other.sql());
        // Who joins, joins what was written.
        prop_assert_ne!(first.digest(), second.digest());
    }
}

#[test]
fn whatever_changes_the_numbers_is_another_question() {
    let base = || testing::study("asked").groups(2).rows(3);
    let sql = "SELECT region, COUNT(*), SUM(CASE WHEN spend > 100 THEN 100 ELSE spend END) AS s FROM customers \
               WHERE age > 20 AND member GROUP BY region";
    let question = |draft: testing::Draft, partners: &[&str]| {
        let partners: Vec<String> = partners.iter().map(|&partner| partner.into()).collect();
        Question::new(&draft.build().unwrap(), &schema(), &partners, 0).unwrap().answer_key()
    };
    let all = ["p1", "p2", "p3"];
    let key = question(base().query(sql), &all);
    assert_eq!(question(base().query(&sql.replace("AS s", "AS t")).purpose("another"), &all), key);
    let others = [
        sql.replace("age > 20", "age > 21"),
        sql.replace("age > 20", "age >= 20"),
        sql.replace("AND member", "OR member"),
        sql.replace("AND member", "AND NOT member"),
        sql.replace("> 100 THEN 100", "> 90 THEN 90"),
        sql.replace("SUM(", "AVG("),
        sql.replace("COUNT(*)", "COUNT(DISTINCT customer)"),
        sql.replace(", COUNT(*)", ""),
        sql.replace("region", "member"),
        sql.replace(" GROUP BY region", " GROUP BY region, member"),
    ];
    let mut keys: Vec<_> = others.iter().map(|sql| question(base().query(sql), &all)).collect();
    keys.extend([
        question(base().query(sql).epsilon(0.9), &all),
        question(base().query(sql).groups(1), &all),
        question(base().query(sql).rows(2), &all),
        question(base().query(sql).for_persons(), &all),
        question(base().query(sql), &all[..2]),
        key,
    ]);
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
}
