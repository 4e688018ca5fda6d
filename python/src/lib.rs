//! The extension module `drumlin._drumlin`: the library's calls, with NumPy arrays and Arrow streams at the border.
//! Names, defaults and conversions of Python values are in `drumlin/`, beside it. Invariants: no call holds Python's
//! lock while it searches, encodes or waits; Ctrl-C ends a wait; a process that was forked gets an error, never a hang.

mod collection;
mod convert;
mod errors;
mod runtime;
mod store;

use pyo3::prelude::*;

#[pymodule]
fn _drumlin(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<store::Store>()?;
    module.add_class::<collection::Collection>()
}
