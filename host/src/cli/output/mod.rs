//! How things look: tables, units, times, help. Pure: values in, text out.

pub(crate) mod help;
pub(crate) mod json;
pub(crate) mod note;
pub(crate) mod order;
pub(crate) mod progress;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod units;
