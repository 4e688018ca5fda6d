//! No loss and no lie under faults: calls that fail in every way, objects that are damaged, buckets that answer what is
//! not so, stores that stand still, die and come back.

mod damage;
mod lying_bucket;
mod many_writers;
mod matrix;
mod reembed;
mod stalled_writer;
mod storm;
mod wrong_answers;
