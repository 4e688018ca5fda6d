//! For tests and benches of this project only: the parts behind the public API. No promise is made
//! about anything here.

pub use crate::bucket;
pub use crate::config::Ablate;
pub use crate::filter::Columns;
pub use crate::format;
pub use crate::head;
