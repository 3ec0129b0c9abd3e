// The fp64 oracle of gemm_bf16 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr double ulps = 16.0;
constexpr double roundoff = 0x1p-24;
// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;

// Relative error of the rounding to bf16.
constexpr double storage = 0x1p-8;

// A bf16 word is the upper half of a float.
double widen(uint16_t word) {
    const uint32_t bits = static_cast<uint32_t>(word) << 16;
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// How many roundings of the size of the sum of magnitudes a sum of k products may cost, in units of 16: those of any order of
// additions in f32, and up to two units for each step of 16 products where tensor cores cut off instead of rounding.
double growth(int64_t k) { return 1.0 + std::sqrt(static_cast<double>(k)) / 4.0 + static_cast<double>(k) / 128.0; }

// A fixed sequence of signs that no candidate can know to be aimed at; the inputs are secret anyway.
double sign(int64_t index) {
    uint64_t word = static_cast<uint64_t>(index) * 0x9E3779B97F4A7C15ULL + 0xD1B54A32D192ED03ULL;
    word ^= word >> 29;
    word *= 0xBF58476D1CE4E5B9ULL;
    word ^= word >> 32;
    return (word & 1) != 0 ? 1.0 : -1.0;
}

}  // namespace

extern "C" void reference(const uint16_t* a, const uint16_t* b, double* c, double* c_scale, int64_t m, int64_t n,
                          int64_t k, int64_t begin, int64_t end) {
    (void)m;
    // Sums in eight chains, which compilers can keep in vectors.
    constexpr int64_t chains = 8;
    for (int64_t i = begin; i < end; ++i) {
        const uint16_t* left = a + i * k;
        for (int64_t j = 0; j < n; ++j) {
            const uint16_t* right = b + j * k;
            double sums[chains] = {};
            double magnitudes[chains] = {};
            for (int64_t l = 0; l < k / chains * chains; l += chains) {
                for (int64_t chain = 0; chain < chains; ++chain) {
                    const double product = widen(left[l + chain]) * widen(right[l + chain]);
                    sums[chain] += product;
                    magnitudes[chain] += std::fabs(product);
                }
            }
            for (int64_t l = k / chains * chains; l < k; ++l) {
                const double product = widen(left[l]) * widen(right[l]);
                sums[0] += product;
                magnitudes[0] += std::fabs(product);
            }
            double sum = 0.0;
            double magnitude = 0.0;
            for (int64_t chain = 0; chain < chains; ++chain) {
                sum += sums[chain];
                magnitude += magnitudes[chain];
            }
            c[(i - begin) * n + j] = sum;
            c_scale[(i - begin) * n + j] = magnitude * growth(k) + negligible;
        }
    }
}

// Freivalds' check with a vector z of signs: a (b z) = c z, at the cost of a few vector products.
// R. Freivalds, "Probabilistic machines can use less running time", IFIP 1977.
extern "C" double freivalds(const uint16_t* a, const uint16_t* b, const uint16_t* c, int64_t m, int64_t n, int64_t k) {
    std::vector<double> signed_sums(static_cast<size_t>(k));
    std::vector<double> magnitudes(static_cast<size_t>(k));
    for (int64_t j = 0; j < n; ++j) {
        for (int64_t l = 0; l < k; ++l) {
            signed_sums[l] += sign(j) * widen(b[j * k + l]);
            magnitudes[l] += std::fabs(widen(b[j * k + l]));
        }
    }
    double worst = 0.0;
    for (int64_t i = 0; i < m; ++i) {
        double expected = 0.0;
        double magnitude = 0.0;
        for (int64_t l = 0; l < k; ++l) {
            expected += widen(a[i * k + l]) * signed_sums[l];
            magnitude += std::fabs(widen(a[i * k + l])) * magnitudes[l];
        }
        double got = 0.0;
        double rounded = 0.0;
        for (int64_t j = 0; j < n; ++j) {
            got += sign(j) * widen(c[i * n + j]);
            rounded += std::fabs(widen(c[i * n + j]));
        }
        const double allowed = ulps * roundoff * (growth(k) * magnitude + static_cast<double>(n) * negligible) +
                               storage * (1.0 + storage) * rounded;
        const double violation = std::fabs(got - expected) / allowed;
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}

// The sums of the columns of c are the sums of the columns of a, times b.
extern "C" double column_sums(const uint16_t* a, const uint16_t* b, const uint16_t* c, int64_t m, int64_t n, int64_t k) {
    std::vector<double> sums(static_cast<size_t>(k));
    std::vector<double> magnitudes(static_cast<size_t>(k));
    for (int64_t i = 0; i < m; ++i) {
        for (int64_t l = 0; l < k; ++l) {
            sums[l] += widen(a[i * k + l]);
            magnitudes[l] += std::fabs(widen(a[i * k + l]));
        }
    }
    std::vector<double> got(static_cast<size_t>(n));
    std::vector<double> rounded(static_cast<size_t>(n));
    for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
            got[j] += widen(c[i * n + j]);
            rounded[j] += std::fabs(widen(c[i * n + j]));
        }
    }
    double worst = 0.0;
    for (int64_t j = 0; j < n; ++j) {
        double expected = 0.0;
        double magnitude = 0.0;
        for (int64_t l = 0; l < k; ++l) {
            expected += sums[l] * widen(b[j * k + l]);
            magnitude += magnitudes[l] * std::fabs(widen(b[j * k + l]));
        }
        const double allowed = ulps * roundoff * (growth(k) * magnitude + static_cast<double>(m + 1) * negligible) +
                               storage * (1.0 + storage) * rounded[j];
        const double violation = std::fabs(got[j] - expected) / allowed;
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}
