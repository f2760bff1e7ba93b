//! Paging: a statement asks for one row more than the page, and the surplus says that another follows.

/// Rows of one page, and after which row the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C = String> {
    pub items: Vec<T>,
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U, C> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

/// Makes a page of at most `limit` from the `limit + 1` rows asked for; `cursor` reads a row's place.
pub fn cut<T, C>(mut rows: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Page<T, C> {
    let limit = limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(cursor);
    Page { items: rows, next }
}
