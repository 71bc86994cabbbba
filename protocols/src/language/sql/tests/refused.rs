//! Refused queries: the place, the part, the reason and what to write instead.

use super::*;

/// Checks that the query is refused with the words, at the place where `part` first stands in `text`.
fn refused_within(before: &str, text: &str, after: &str, part: &str, words: &[&str]) {
    let sql = format!("{before}{text}{after}");
    let refusal = planned(&sql).expect_err(&sql);
    let message = refusal.to_string();
    assert!(refusal.part.starts_with(part), "part of {sql}\n{message}");
    assert!(!refusal.why.is_empty() && !refusal.instead.is_empty(), "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}\n{sql}");
    }
    let before = &sql[..before.len() + text.find(part).unwrap_or(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    assert_eq!((refusal.line, refusal.column), (line as u64, column as u64), "{message}\n{sql}");
}

fn refused(sql: &str, part: &str, words: &[&str]) {
    refused_within("", sql, "", part, words);
}

fn condition(condition: &str, part: &str, words: &[&str]) {
    refused_within("SELECT COUNT(*) AS n\nFROM customers\nWHERE ", condition, "", part, words);
}

fn item(item: &str, part: &str, words: &[&str]) {
    refused_within("SELECT COUNT(*) AS ñ,\n  ", item, "\nFROM customers", part, words);
}

fn key(key: &str, part: &str, words: &[&str]) {
    refused_within("SELECT COUNT(*) AS n FROM customers ", &format!("GROUP BY {key}"), "", part, words);
}

#[test]
fn the_message_reads_well() {
    let sql = "SELECT region,\n       MEDIAN(spend) FROM customers GROUP BY region";
    let message = planned(sql).unwrap_err().to_string();
    let expected = "line 2, column 8: `MEDIAN(spend)` cannot be asked: this measure is not available in this version. \
                    Write COUNT(*) grouped by bins, CASE WHEN x < 10 THEN 'low' ELSE 'high' END, and read it off the \
                    counts.";
    assert_eq!(message, expected);
}

#[test]
fn the_privacy_unit_is_only_counted() {
    let words = ["privacy unit", "COUNT(DISTINCT customer_id)"];
    condition("customer_id = 5", "customer_id", &words);
    condition("age > 20 AND customers.Customer_ID IN (5)", "customers.Customer_ID", &words);
    condition("customer_id IS NOT NULL", "customer_id", &words);
    condition("CASE WHEN churned THEN customer_id ELSE 1 END = 5", "customer_id", &words);
    item("COUNT(*) FILTER (WHERE customer_id = 5)", "COUNT(*) FILTER", &["FILTER", "WHERE"]);
    item("SUM(CASE WHEN customer_id = 5 THEN 1 ELSE 0 END)", "customer_id", &words);
    item("COUNT(customer_id)", "COUNT(customer_id)", &["COUNT(DISTINCT customer_id)"]);
    item("customer_id", "customer_id", &words);
    key("customer_id", "customer_id", &words);
    item("COUNT(DISTINCT customer_id + 0)", "COUNT(DISTINCT customer_id + 0)", &["COUNT(DISTINCT customer_id)"]);
    item("COUNT(DISTINCT region)", "COUNT(DISTINCT region)", &["only customers", "GROUP BY"]);
}

#[test]
fn nothing_of_the_partners_system_is_read() {
    for call in ["random()", "version()", "input_file_name()", "pg_sleep(1)", "uuid()"] {
        condition(&format!("age > {call}"), call, &["declared columns"]);
    }
    condition("joined < now()", "now()", &["DATE '2025-01-31'"]);
    condition("joined < CURRENT_DATE", "CURRENT_DATE", &["DATE '2025-01-31'"]);
    condition("age > pg_read_file('x')", "pg_read_file('x')", &["no such function", "ABS, COALESCE"]);
    condition("age > pg_catalog.abs(1)", "pg_catalog.abs(1)", &["no such function"]);
    condition("age = current_user", "current_user", &["declared"]);
}

#[test]
fn clauses() {
    let refuse = |rest: &str, part: &str, words: &[&str]| {
        refused(&format!("SELECT region, COUNT(*) AS n FROM customers {rest}"), part, words);
    };
    refuse("GROUP BY region ORDER BY n DESC", "ORDER BY n DESC", &["sort them afterwards"]);
    refuse("GROUP BY region ORDER BY n LIMIT 5", "ORDER BY n", &["sort them afterwards"]);
    refuse("GROUP BY region LIMIT 5", "LIMIT 5", &["every public group"]);
    refuse("GROUP BY region OFFSET 5", "OFFSET 5", &["every public group"]);
    refuse("GROUP BY region FETCH FIRST 3 ROWS ONLY", "FETCH FIRST", &["every public group"]);
    refuse("GROUP BY region HAVING COUNT(*) > 5", "HAVING COUNT(*) > 5", &["would reveal them"]);
    refuse("GROUP BY ROLLUP(region)", "ROLLUP(region)", &["not available"]);
    refuse("GROUP BY ALL", "GROUP BY ALL", &["not available"]);
    refuse("GROUP BY region FOR UPDATE", "FOR UPDATE", &["not available"]);
    refuse("GROUP BY region WINDOW w AS (PARTITION BY region)", "WINDOW", &["window functions"]);
    refuse("GROUP BY region QUALIFY COUNT(*) > 1", "QUALIFY", &["window functions"]);
    refuse("TABLESAMPLE BERNOULLI (1) GROUP BY region", "FROM customers TABLESAMPLE", &["sample"]);
    refuse("JOIN orders USING (customer_id) GROUP BY region", "FROM customers JOIN", &["joins"]);
    refuse(", orders GROUP BY region", "FROM customers , orders", &["joins"]);
    refuse("AS c (a, b) GROUP BY region", "FROM customers AS c (a, b)", &["not renamed"]);
    refuse("GROUP BY region UNION SELECT 1", "UNION", &["one SELECT"]);
    refuse("GROUP BY region; DROP TABLE customers", ";", &["one query"]);
    refuse("GROUP BY region extra", "extra", &["should end here"]);
    refuse("WHERE", "(end of the text)", &["not SQL"]);
}

#[test]
fn statements() {
    refused("SELECT DISTINCT region FROM customers", "DISTINCT region", &["GROUP BY"]);
    refused("SELECT TOP 5 region FROM customers", "TOP 5", &["every public group"]);
    refused("SELECT * FROM customers", "*", &["COUNT(*)"]);
    refused("SELECT c.* FROM customers c", "c.*", &["COUNT(*)"]);
    refused("SELECT region FROM customers GROUP BY region", "SELECT region", &["no measure"]);
    refused("SELECT COUNT(*) INTO x FROM customers", "INTO x", &["writes nothing"]);
    refused("SELECT COUNT(*)", "SELECT COUNT(*)", &["which data set"]);
    refused("SELECT COUNT(*) FROM (select 1)", "select", &["one SELECT"]);
    refused("SELECT COUNT(*) FROM f(1)", "FROM f(1)", &["table functions"]);
    refused("SELECT COUNT(*) FROM public.customers", "FROM public.customers", &["one part"]);
    refused("SELECT COUNT(*) FROM orders", "orders", &["Write FROM customers"]);
    refused("WITH a AS (SELECT 1) SELECT COUNT(*) FROM a", "WITH", &["WITH"]);
    refused("DELETE FROM customers", "DELETE", &["SELECT"]);
    refused("", "(end of the text)", &["no query"]);
    refused("-- nothing\n", "--", &["no query"]);
    refused("SELECT 'open FROM customers", "'open", &["Close"]);
    refused("SELECT COUNT(*) AS 'n' FROM customers", "COUNT(*)", &["AS n"]);
    refused("SELECT COUNT(*) AS \"\" FROM customers", "\"\"", &["name"]);
}

#[test]
fn items() {
    item("age", "age", &["neither a measure nor a key", "GROUP BY"]);
    item("SUM(spend) / SUM(visits)", "SUM(spend)", &["stands alone", "item of its own"]);
    item("ABS(SUM(spend))", "SUM(spend)", &["stands alone"]);
    item("SUM(AVG(spend))", "AVG(spend)", &["stands alone"]);
    item("COUNT(age)", "COUNT(age)", &["SUM(CASE WHEN age IS NOT NULL THEN 1 ELSE 0 END)"]);
    item("COUNT()", "COUNT()", &["COUNT(*)"]);
    item("SUM(DISTINCT spend)", "SUM(DISTINCT spend)", &["without DISTINCT"]);
    item("SUM(*)", "SUM(*)", &["one argument"]);
    item("SUM(spend, age)", "SUM(spend, age)", &["one argument"]);
    item("SUM(spend) OVER (PARTITION BY region)", "SUM(spend) OVER", &["window functions"]);
    item("STDDEV(spend)", "STDDEV(spend)", &["not available in this version", "AVG(x * x)"]);
    item("MAX(spend)", "MAX(spend)", &["single row", "bins"]);
    item("percentile_cont(0.5) WITHIN GROUP (ORDER BY spend)", "percentile_cont(0.5)", &["not available"]);
    item("SUM(churned)", "churned", &["SUM(CAST(churned AS BIGINT))"]);
    item("SUM(region)", "region", &["GROUP BY region"]);
    item("SUM(NULL)", "NULL", &["always NULL"]);
    item("SUM(spend) AS total, COUNT(*) AS x, SUM(age) AS \"total\"", "\"total\"", &["would be called `total`"]);
    item("COUNT(*) AS ñ", "ñ", &["would be called `ñ`"]);
}

#[test]
fn bounds() {
    let declare = ["`weight`", "Declare min and max", "node.toml at each partner"];
    item("SUM(weight)", "weight", &declare);
    item("AVG(weight * 2)", "weight", &declare);
    item("SUM(CASE WHEN churned THEN weight ELSE 0 END)", "CASE WHEN churned", &declare);
    item("SUM(clicks)", "clicks", &["`clicks`", "Declare min and max"]);
    condition("clicks + 1 > 2", "clicks", &["`clicks`", "Declare min and max"]);
    item("SUM(CAST(weight AS BIGINT))", "CAST(weight AS BIGINT)", &declare);
    item("SUM(spend / change)", "spend / change", &["divisor `change`", "CASE WHEN"]);
    item("SUM(age / spend)", "age / spend", &["divisor `spend`", "constant"]);
    item("SUM(age / spend * 2)", "age / spend", &["divisor `spend`", "constant"]);
    item("SUM(big + 1)", "big + 1", &["64 bits", "CAST"]);
    item("SUM(age * age * age * age * age * age * age * age * age * age)", "age * age", &["64 bits"]);
    item("SUM(1e200 * spend)", "1e200 * spend", &["1e-100 and 1e100"]);
    item("SUM(spend * 1e-200)", "spend * 1e-200", &["1e-100 and 1e100"]);
    item("SUM(1e200 * spend * 1e200)", "1e200 * spend * 1e200", &["infinite"]);
    item("SUM(CAST(spend * 1e30 AS BIGINT))", "CAST(spend", &["64 bits"]);
    item("SUM(9223372036854775808)", "9223372036854775808", &["64 bits", "9223372036854775808.0"]);
    item("SUM(1e999)", "1e999", &["finite"]);
}

#[test]
fn names_and_values() {
    condition("agee > 20", "agee", &["does not exist for studies", "Write `age`", "`spend`"]);
    condition("zzz > 20", "zzz", &["declared columns are", "`age`"]);
    condition("o.age > 20", "o.age", &["customers.age"]);
    condition("region = 'nrth'", "'nrth'", &["not a public value of `region`", "Write `north`", "`south`"]);
    condition("'Xxx' <> region", "'Xxx'", &["Write one of", "`north`"]);
    condition("region IN ('north', 'suoth')", "'suoth'", &["`south`"]);
    condition("CASE region WHEN 'nrth' THEN TRUE ELSE FALSE END", "'nrth'", &["`north`"]);
    condition("region < 'north'", "region", &["no order"]);
    condition("region LIKE 'n%'", "region LIKE 'n%'", &["IN ('value', …)"]);
    condition("joined > '2025-13-01'", "'2025-13-01'", &["DATE '2025-01-31'"]);
    condition("joined > 2025", "2025", &["a whole number beside `joined`"]);
    condition("rouund(spend) > 2", "rouund(spend)", &["no such function"]);
    condition("coalesc(spend, 1) > 2", "coalesc(spend, 1)", &["Write COALESCE if you mean that"]);
}

#[test]
fn types_and_forms() {
    condition("age", "age", &["where a condition is needed"]);
    condition("age AND churned", "age", &["where a condition is needed"]);
    condition("age = 'x'", "'x'", &["text beside `age`"]);
    condition("churned > FALSE", "churned", &["no order"]);
    condition("churned + 1 > 1", "churned", &["CAST(condition AS BIGINT)"]);
    condition("joined + 1 > '2020-01-01'", "joined", &["EXTRACT"]);
    condition("age % 2 = 1", "%", &["remainder"]);
    condition("region || 'x' = 'y'", "||", &["text is compared"]);
    condition("age > $1", "$1", &["no parameters"]);
    condition("tags[1] = 2", "[", &["not part of queries"]);
    condition("churned IS TRUE", "churned", &["Write the condition itself"]);
    condition("age IN (select 1)", "select", &["one SELECT"]);
    condition("(age, age) = (1, 2)", "(", &["IN"]);
    condition("joined > INTERVAL '1 day'", "INTERVAL '1 day'", &["intervals"]);
    condition("+ age > 1", "+ age", &["without the +"]);
    condition("CAST(age AS VARCHAR) = '1'", "CAST(age AS VARCHAR)", &["no type VARCHAR"]);
    condition("CAST(age AS SMALLINT) = 1", "CAST(age AS SMALLINT)", &["BIGINT"]);
    condition("TRY_CAST(age AS BIGINT) = 1", "TRY_CAST(age", &["CAST"]);
    condition("CAST(region AS DATE) > '2020-01-01'", "CAST(region AS DATE)", &["on some row"]);
    condition("CAST(age AS BOOLEAN)", "CAST(age AS BOOLEAN)", &["cannot become BOOLEAN"]);
    condition("EXTRACT(EPOCH FROM joined) > 1", "EXTRACT(EPOCH FROM joined)", &["no part EPOCH"]);
    condition("EXTRACT(YEAR FROM age) > 1", "age", &["where a date is needed"]);
    condition("DATE_TRUNC('week', joined) > '2020-01-01'", "'week'", &["quarter"]);
    condition("ROUND(spend) > 1", "ROUND(spend)", &["no such function"]);
    condition("CEIL(spend) > 1", "CEIL(spend)", &["no such function"]);
    condition("ABS(spend, 1) > 1", "ABS(spend, 1)", &["number of arguments"]);
    condition("spend > 1 COLLATE \"C\"", "1", &["not an expression"]);
}

#[test]
fn keys() {
    key("spend", "spend", &["bins", "CASE WHEN age < 30"]);
    key("clicks", "clicks", &["`clicks`", "CASE WHEN age < 30"]);
    key("big", "big", &["at most 1000", "CASE WHEN"]);
    key("age * 100", "age * 100", &["7701 values"]);
    key("joined", "joined", &["DATE_TRUNC('month', date)"]);
    key("born", "born", &["`born`", "bins"]);
    key("EXTRACT(YEAR FROM born)", "EXTRACT(YEAR FROM born)", &["`born`"]);
    key("NULL", "NULL", &["left out"]);
    key("COUNT(*)", "COUNT(*)", &["stands alone"]);
    key("2", "2", &["number from 1 to 1"]);
    key("n", "n", &["is a measure"]);
    key(
        "age, visits, region, tier, DATE_TRUNC('month', joined)",
        "GROUP BY age",
        &["more than 1000000 numbers", "78 of `age`"],
    );
    let nine = "age > 1, age > 2, age > 3, age > 4, age > 5, age > 6, age > 7, age > 8, age > 9";
    key(nine, "GROUP BY age > 1", &["at most 8 keys"]);
    let shadow = "SELECT CASE WHEN age < 30 THEN 1 ELSE 2 END AS age, COUNT(*) FROM customers\nGROUP BY age";
    let refusal = planned(shadow).unwrap_err();
    assert_eq!((refusal.line, refusal.column), (2, 10));
    assert!(refusal.instead.contains("GROUP BY 1"), "{refusal}");
    let twice = planned("SELECT region AS a, region AS b, COUNT(*) FROM customers GROUP BY region").unwrap_err();
    assert!(twice.why.contains("shown already"), "{twice}");
}

#[test]
fn too_much() {
    let long = |part: &str, count: usize| part.repeat(count);
    let refuse = |sql: &str, word: &str| {
        let message = planned(sql).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    };
    refuse(&format!("SELECT COUNT(*) FROM customers WHERE age IN (1{})", long(", 1", 30_000)), "bytes");
    refuse(&format!("SELECT SUM(1{}) FROM customers", long(" + 1", 100)), "deeply nested");
    refuse(&format!("SELECT SUM(1{}) FROM customers", long(" + 1", 15_000)), "deeply nested");
    for (open, middle, close) in
        [("(", "1", ")"), ("ABS(", "1", ")"), ("- ", "1", ""), ("CASE WHEN ", "TRUE", " THEN 1 END")]
    {
        refuse(&format!("SELECT SUM({}{middle}{}) FROM customers", long(open, 200), long(close, 200)), "deeply nested");
        refuse(
            &format!("SELECT SUM({}{middle}{}) FROM customers", long(open, 3000), long(close, 3000)),
            "deeply nested",
        );
    }
    // Each ABS repeats its argument three times.
    refuse(&format!("SELECT SUM({}change{}) FROM customers", long("ABS(", 20), long(")", 20)), "parts");
    refuse(&format!("SELECT {} FROM customers", long("SUM(spend),", 64) + "COUNT(*)"), "at most 64");
    let wide = format!("SUM(CASE WHEN age IN ({}1) THEN 1 END),", long("1,", 3000));
    refuse(&format!("SELECT {} FROM customers", long(&wide, 5) + "COUNT(*)"), "parts");
    // However many expressions they are in.
    let listed = |count: usize| format!("age IN (1{})", long(", 1", count - 1));
    assert!(planned(&format!("SELECT COUNT(*) FROM customers WHERE {}", listed(500))).is_ok());
    refuse(&format!("SELECT COUNT(*) FROM customers WHERE {}", listed(501)), "over 2000 parts");
    let halves = format!("SUM(CASE WHEN {} THEN 1 END)", listed(250));
    refuse(&format!("SELECT {halves}, AVG(age) FROM customers WHERE {}", listed(251)), "over 2000 parts");
}

#[test]
fn a_schema_that_bounds_nothing_is_refused() {
    let mut schema = schema();
    schema.columns.insert("age".into(), ColumnType::Int { min: Some(3), max: Some(1) });
    let refusal = plan("SELECT COUNT(*) FROM customers", Limits::default(), &schema).unwrap_err();
    assert_eq!((refusal.line, refusal.column), (0, 0));
    assert!(refusal.to_string().starts_with("`customers` cannot be asked: column `age`"), "{refusal}");
}
