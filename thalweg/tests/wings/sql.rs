//! What `sql/` will do: make a stream of a text, of rows whose columns no type knows.

use thalweg::record::{Layout, RecordLayout};
use thalweg::{Boxed, Collected, DataStream, StreamExecutionEnvironment};

/// Its columns are those of its layout.
pub type Row = Vec<i64>;

fn schema(columns: &[i64]) -> RecordLayout<Row> {
    RecordLayout::given(Layout::described(&format!("row{{{columns:?}}}")))
}

/// Puts the steps of `text` on the rows of `table`: `where COLUMN LEAST` and `select COLUMN...`, with `|` between them.
pub fn query(env: &StreamExecutionEnvironment, table: Vec<Row>, text: &str) -> Result<Collected<Row>, String> {
    env.set_description_bytes(text.as_bytes());
    let mut rows: DataStream<Boxed<Row>> = env.from_collection(table).with_layout(schema(&[0, 1])).boxed();
    for step in text.split('|') {
        let (verb, numbers) = step.trim().split_once(' ').ok_or("a step is a verb and numbers")?;
        let numbers: Vec<i64> = numbers.split(' ').map(|n| n.parse().map_err(|_| format!("{n} is no number"))).collect::<Result<_, _>>()?;
        rows = match (verb, &numbers[..]) {
            ("where", &[column, least]) => {
                rows.filter(move |row| row.iter().nth(column as usize).is_some_and(|value| value >= least)).boxed()
            }
            ("select", columns) => {
                let (layout, columns) = (schema(columns), columns.to_vec());
                let selected = move |row: thalweg::record::ListRef<'_, i64>| -> Row {
                    columns.iter().filter_map(|column| row.iter().nth(*column as usize)).collect()
                };
                rows.map(selected).with_layout(layout).boxed()
            }
            _ => return Err(format!("no such step: {verb}")),
        };
    }
    Ok(rows.rebalance().map(|row| row.iter().collect::<Row>()).collect())
}
