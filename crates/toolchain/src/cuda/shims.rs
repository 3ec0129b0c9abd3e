//! Headers of a host's C library that CUDA sources include out of habit, and that the run-time compiler does not have.
//!
//! They hold what device code can use and nothing else. What needs templates forwards to `cuda::std` of the toolkit.

/// Name and text of each header that is offered besides the toolkit's own.
pub(crate) fn headers() -> Vec<(String, String)> {
    let plain = [
        ("stdint.h", STDINT.to_owned()),
        ("cstdint", STDINT.to_owned()),
        ("stddef.h", STDDEF.to_owned()),
        ("cstddef", STDDEF.to_owned()),
        ("float.h", FLOAT.to_owned()),
        ("cfloat", FLOAT.to_owned()),
        ("limits.h", LIMITS.to_owned()),
        ("climits", LIMITS.to_owned()),
        // The functions themselves are built into the compiler.
        ("math.h", MATH.to_owned()),
        ("cmath", MATH.to_owned()),
        ("string.h", "#pragma once\n".to_owned()),
        ("cstring", "#pragma once\n".to_owned()),
    ];
    let forwarded = [
        "type_traits",
        "limits",
        "utility",
        "array",
        "tuple",
        "bit",
        "concepts",
        "functional",
        "algorithm",
        "numeric",
        "initializer_list",
        "optional",
        "span",
    ];
    let forward = |name: &str| {
        (
            name.to_owned(),
            format!(
                "#pragma once\n#include <cuda/std/{name}>\nnamespace std {{ using namespace cuda::std; }}\n"
            ),
        )
    };
    let plain = plain.into_iter().map(|(name, text)| (name.to_owned(), text));
    plain.chain(forwarded.into_iter().map(forward)).collect()
}

const STDINT: &str = r"#pragma once
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef long long intptr_t;
typedef unsigned long long uintptr_t;
typedef long long intmax_t;
typedef unsigned long long uintmax_t;
#define INT8_MIN (-128)
#define INT16_MIN (-32768)
#define INT32_MIN (-2147483647 - 1)
#define INT64_MIN (-9223372036854775807LL - 1)
#define INT8_MAX 127
#define INT16_MAX 32767
#define INT32_MAX 2147483647
#define INT64_MAX 9223372036854775807LL
#define UINT8_MAX 255
#define UINT16_MAX 65535
#define UINT32_MAX 4294967295U
#define UINT64_MAX 18446744073709551615ULL
namespace std {
using ::int8_t; using ::int16_t; using ::int32_t; using ::int64_t;
using ::uint8_t; using ::uint16_t; using ::uint32_t; using ::uint64_t;
using ::intptr_t; using ::uintptr_t;
}
";

const STDDEF: &str = r"#pragma once
typedef decltype(sizeof(0)) size_t;
typedef long ptrdiff_t;
namespace std { using ::size_t; using ::ptrdiff_t; using nullptr_t = decltype(nullptr); }
";

const FLOAT: &str = r"#pragma once
#define FLT_MAX 3.402823466e+38F
#define FLT_MIN 1.175494351e-38F
#define FLT_EPSILON 1.192092896e-07F
#define DBL_MAX 1.7976931348623158e+308
#define DBL_MIN 2.2250738585072014e-308
#define DBL_EPSILON 2.2204460492503131e-16
";

const LIMITS: &str = r"#pragma once
#define CHAR_BIT 8
#define SCHAR_MIN (-128)
#define SCHAR_MAX 127
#define UCHAR_MAX 255
#define SHRT_MIN (-32768)
#define SHRT_MAX 32767
#define USHRT_MAX 65535
#define INT_MIN (-2147483647 - 1)
#define INT_MAX 2147483647
#define UINT_MAX 4294967295U
#define LONG_MIN (-9223372036854775807L - 1)
#define LONG_MAX 9223372036854775807L
#define ULONG_MAX 18446744073709551615UL
#define LLONG_MIN (-9223372036854775807LL - 1)
#define LLONG_MAX 9223372036854775807LL
#define ULLONG_MAX 18446744073709551615ULL
";

const MATH: &str = r"#pragma once
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif
#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif
namespace std {
using ::sqrt; using ::exp; using ::log; using ::pow; using ::fabs; using ::floor; using ::ceil;
using ::fmax; using ::fmin; using ::tanh; using ::sin; using ::cos; using ::erf; using ::fma;
}
";

/// Names of the headers that are offered besides the toolkit's own.
pub fn offered_headers() -> Vec<String> {
    headers().into_iter().map(|(name, _)| name).collect()
}
