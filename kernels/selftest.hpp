// Every kernel against a reference computed on the host in double precision, on small random inputs.
#pragma once

namespace measure {

/// Prints one line a kernel; true where all agree. `own`: without the libraries' kernels.
bool self_test(bool own);

}  // namespace measure
