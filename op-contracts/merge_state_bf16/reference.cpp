// The fp64 oracle of merge_state_bf16 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace {

constexpr int64_t heads = 32;
constexpr int64_t width = 128;
constexpr double ulps_u = 16.0 * 0x1p-24;
constexpr double storage = 0x1p-8;
// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;
// Weights below 2^-160 are nothing; their exponent need not be exact.
constexpr double deepest = 160.0;

// A bf16 word is the upper half of a float.
double widen(uint16_t word) {
    const uint32_t bits = static_cast<uint32_t>(word) << 16;
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

struct Weights {
    double a;
    double b;
    double log_sum;
    // How much the roundings of the exponent cost, in units of the 16 that one element may cost.
    double growth;
};

Weights weights(double s_a, double s_b) {
    const double top = std::fmax(s_a, s_b);
    if (top == -std::numeric_limits<double>::infinity()) {
        return {0.0, 0.0, top, 1.0};
    }
    const double a = std::exp2(s_a - top);
    const double b = std::exp2(s_b - top);
    return {a / (a + b), b / (a + b), top + std::log2(a + b), 1.0 + std::fmin(std::fabs(s_a - s_b), deepest) / 4.0};
}

}  // namespace

extern "C" void reference(const uint16_t* v_a, const float* s_a, const uint16_t* v_b, const float* s_b, double* v,
                          double* v_scale, double* s, double* s_scale, int64_t n, int64_t begin, int64_t end) {
    (void)n;
    for (int64_t head = begin * heads; head < end * heads; ++head) {
        const Weights weight = weights(s_a[head], s_b[head]);
        const int64_t at = head - begin * heads;
        s[at] = weight.log_sum;
        s_scale[at] = std::isinf(weight.log_sum) ? 0.0 : 1.0 + std::fmax(std::fabs(s_a[head]), std::fabs(s_b[head])) / 8.0;
        for (int64_t e = 0; e < width; ++e) {
            const double a = weight.a * widen(v_a[head * width + e]);
            const double b = weight.b * widen(v_b[head * width + e]);
            v[at * width + e] = a + b;
            v_scale[at * width + e] = (std::fabs(a) + std::fabs(b)) * weight.growth + negligible;
        }
    }
}

// Summed with a sequence of signs, the elements of a head are the mean of the same sums of both parts, with the weights in
// logistic form.
extern "C" double projections(const uint16_t* v_a, const float* s_a, const uint16_t* v_b, const float* s_b,
                              const uint16_t* v, const float* s, int64_t n) {
    (void)s;
    double worst = 0.0;
    for (int64_t head = 0; head < n * heads; ++head) {
        const double difference = static_cast<double>(s_b[head]) - s_a[head];
        const double a = 1.0 / (1.0 + std::exp2(difference));
        const double b = 1.0 / (1.0 + std::exp2(-difference));
        const double growth = 1.0 + std::fmin(std::fabs(difference), deepest) / 4.0;
        double expected = 0.0;
        double got = 0.0;
        double allowed = width * negligible;
        for (int64_t e = head * width; e < (head + 1) * width; ++e) {
            const double sign = (e * 0x9E3779B97F4A7C15ULL >> 63) != 0 ? 1.0 : -1.0;
            const double mixed = a * widen(v_a[e]) + b * widen(v_b[e]);
            const double magnitude = a * std::fabs(widen(v_a[e])) + b * std::fabs(widen(v_b[e]));
            expected += sign * mixed;
            got += sign * widen(v[e]);
            allowed += ulps_u * magnitude * growth + storage * std::fabs(mixed);
        }
        const double violation = std::fabs(got - expected) / (allowed * (1.0 + storage));
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}

// The larger log-sum, or up to one more.
extern "C" double log_sum_range(const uint16_t* v_a, const float* s_a, const uint16_t* v_b, const float* s_b,
                                const uint16_t* v, const float* s, int64_t n) {
    (void)v_a;
    (void)v_b;
    (void)v;
    for (int64_t head = 0; head < n * heads; ++head) {
        const double top = std::fmax(s_a[head], s_b[head]);
        const double slack = 0x1p-20 * (1.0 + std::fabs(top));
        if (!(s[head] >= top - slack) || !(s[head] <= top + 1.0 + slack)) {
            return 2.0;
        }
    }
    return 0.0;
}
