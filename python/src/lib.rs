//! The extension module `drumlin._drumlin`: the library's calls, with NumPy arrays and Arrow streams at the border.
//! Names, defaults and conversions of Python values are in `drumlin/`, beside it. Invariants: no call holds Python's
//! lock while it searches, encodes or waits; Ctrl-C ends a wait; what a forked process inherits is neither used nor
//! dropped there, so that it cannot hang.

mod answer;
mod arrow_io;
mod collection;
mod convert;
mod errors;
mod pending;
mod ranked;
mod routes;
mod scan;
mod store;
mod threads;
mod value;
mod view;
mod write;

use pyo3::prelude::*;

// Free-threaded interpreters are not tested: there, the import switches the lock on, and Python says so.
#[pymodule(gil_used = true)]
fn _drumlin(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(threads::end_callbacks, module)?)?;
    module.add_class::<store::Store>()?;
    module.add_class::<collection::Collection>()?;
    module.add_class::<answer::Answer>()?;
    module.add_class::<answer::Records>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<view::View>()?;
    module.add_class::<pending::Pending>()?;
    module.add_class::<pending::Task>()?;
    module.add_class::<routes::Routes>()
}
