//! A list that the database keeps: filtered, searched, sorted, counted, in pages by position (keyset), never by offset.
//!
//! Only conditions that were asked for stand in the statement, and it is planned anew for its values each time:
//! that is what keeps every list on an index.

use crate::call::Reply;
use crate::page::Page;
use crate::planted::panic_sometimes;
use crate::pools::Conn;
use crate::sql::{Param, bigint, text};
use crate::write::Stop;
use serde_json::Value as Json;
use tokio_postgres::Row;

/// Longer lists are counted up to here.
pub const COUNT_MAX: i64 = 100_000;

/// What a list can be sorted by: a member of its objects and the columns of an index.
#[derive(Debug)]
pub struct Order {
    pub name: &'static str,
    pub key: Key,
}

#[derive(Debug, Clone, Copy)]
pub enum Key {
    /// A column that says it alone.
    Unique(&'static str),
    /// A text, then the id.
    Text(&'static str, &'static str),
    /// A time, then the id.
    Time(&'static str, &'static str),
}

/// What is asked of the database.
#[allow(missing_debug_implementations, reason = "holds parameters")]
pub struct Listing<'l> {
    columns: &'static str,
    from: &'static str,
    orders: &'static [Order],
    conditions: Vec<String>,
    params: Vec<Param<'l>>,
}

impl Key {
    /// The columns, and as a text where a row stands.
    fn columns(self) -> (String, String) {
        match self {
            Key::Unique(id) => (id.to_owned(), format!("ARRAY[{id}]")),
            Key::Text(value, id) => (format!("({value}, {id})"), format!("ARRAY[{value}, {id}]")),
            Key::Time(at, id) => {
                let micros = format!("(extract(epoch FROM {at}) * 1000000)::int8::text");
                (format!("({at}, {id})"), format!("ARRAY[{micros}, {id}]"))
            }
        }
    }

    /// A position of which `$n` and `$n+1` are the texts.
    fn position(self, n: usize) -> String {
        match self {
            Key::Unique(_) => format!("${n}"),
            Key::Text(..) => format!("(${n}, ${})", n + 1),
            Key::Time(..) => {
                let at = format!("to_timestamp(0) + ${n}::text::int8 * interval '1 microsecond'");
                format!("({at}, ${})", n + 1)
            }
        }
    }

    fn order(self, direction: &str) -> String {
        match self {
            Key::Unique(id) => format!("{id} {direction}"),
            Key::Text(value, id) | Key::Time(value, id) => {
                format!("{value} {direction}, {id} {direction}")
            }
        }
    }
}

impl<'l> Listing<'l> {
    pub fn new(columns: &'static str, from: &'static str, orders: &'static [Order]) -> Listing<'l> {
        Listing { columns, from, orders, conditions: Vec::new(), params: Vec::new() }
    }

    /// Only rows of which a condition without values holds.
    pub fn always(&mut self, condition: &str) {
        self.conditions.push(condition.to_owned());
    }

    /// Only rows of which a condition holds; `{}` in it is the value. Without a value: all.
    pub fn only(&mut self, condition: &str, value: Option<Param<'l>>) {
        if let Some(value) = value {
            self.params.push(value);
            let place = format!("${}", self.params.len());
            self.conditions.push(condition.replace("{}", &place));
        }
    }

    /// Goes on with the condition before, with a value of its own.
    pub fn also(&mut self, rest: &str, value: Param<'l>) {
        self.params.push(value);
        let place = format!("${}", self.params.len());
        if let Some(condition) = self.conditions.last_mut() {
            condition.push_str(&rest.replace("{}", &place));
        }
    }

    /// Only rows of which one of these texts begins with what is searched. As a range of the index: it holds
    /// for any value.
    pub fn search(&mut self, page: &'l Page<'_>, texts: &[&str]) {
        let Some((first, behind)) = &page.search else { return };
        self.params.extend([text(first), text(behind)]);
        let (first, behind) = (self.params.len() - 1, self.params.len());
        let one = |column: &&str| format!("({column} >= ${first} AND {column} < ${behind})");
        let any: Vec<String> = texts.iter().map(one).collect();
        self.conditions.push(format!("({})", any.join(" OR ")));
    }

    /// The page, and how many there are if that was asked.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn answer(
        mut self,
        page: &Page<'_>,
        conn: &Conn,
        shown: impl Fn(&Row) -> Json,
    ) -> Result<Reply, Stop> {
        let order = self.orders.iter().find(|order| order.name == page.sort);
        let key = order.or(self.orders.first()).map_or(Key::Unique("id"), |order| order.key);
        let direction = if page.is_descending { "DESC" } else { "ASC" };
        let total = match page.is_counted {
            true => Some(self.total(conn, key).await?),
            false => None,
        };
        if let Some(after) = &page.after {
            let than = if page.is_descending { "<" } else { ">" };
            let (columns, n) = (key.columns().0, self.params.len() + 1);
            self.conditions.push(format!("{columns} {than} {}", key.position(n)));
            self.params.extend(after.iter().map(|part| text(part)));
        }
        let limit = page.fetched();
        self.params.push(bigint(&limit));
        let (_, position) = key.columns();
        let statement = format!(
            "SELECT {}, {position} AS position {} {} ORDER BY {} LIMIT ${}",
            self.columns,
            self.from,
            self.filter(),
            key.order(direction),
            self.params.len()
        );
        let rows = conn.planned(&statement, &self.params).await?;
        panic_sometimes();
        let items = rows.iter().map(|row| (row.get("position"), shown(row)));
        Ok(page.reply(items.collect(), total))
    }

    async fn total(&self, conn: &Conn, key: Key) -> Result<i64, Stop> {
        let statement = format!(
            "SELECT count(*) FROM (SELECT 1 {} {} ORDER BY {} LIMIT {COUNT_MAX}) counted",
            self.from,
            self.filter(),
            key.order("ASC")
        );
        let rows = conn.planned(&statement, &self.params).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    fn filter(&self) -> String {
        match self.conditions.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", self.conditions.join(" AND ")),
        }
    }
}
