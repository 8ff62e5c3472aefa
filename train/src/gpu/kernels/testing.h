// What the kernels' tests share: inputs, outputs between guard zones, and comparisons.
#pragma once
#include "emulated.h"

inline bool failed = false;
inline std::mt19937 source(7);

inline std::vector<float> normal(size_t count, float deviation = 1.0f) {
    std::normal_distribution<float> distribution(0.0f, deviation);
    std::vector<float> numbers(count);
    for (float& number : numbers) number = distribution(source);
    return numbers;
}

inline std::vector<bf16> rounded(const std::vector<float>& numbers) {
    std::vector<bf16> halves;
    for (float number : numbers) halves.push_back(to_bf16(number));
    return halves;
}

inline double number(float x) { return x; }
inline double number(bf16 x) { return from_bf16(x); }

template <class Number>
std::vector<double> numbers(const std::vector<Number>& all) {
    std::vector<double> exact;
    for (Number x : all) exact.push_back(number(x));
    return exact;
}

// An output: poisoned, between guard zones.
template <class Number>
struct Output {
    static constexpr size_t GUARD = 256;
    std::vector<Number> all;
    size_t count;
    Output(size_t count) : all(count + 2 * GUARD), count(count) { poison(); }
    void poison() { memset((void*)all.data(), 0xff, all.size() * sizeof(Number)); }
    Number* data() { return all.data() + GUARD; }
    std::vector<double> numbers() { return ::numbers(std::vector<Number>(data(), data() + count)); }
    bool is_guarded() const {
        auto is_poison = [](const Number& it) {
            auto bytes = (const unsigned char*)&it;
            return std::all_of(bytes, bytes + sizeof(Number), [](unsigned char byte) { return byte == 0xff; });
        };
        return std::all_of(all.begin(), all.begin() + GUARD, is_poison) &&
               std::all_of(all.end() - GUARD, all.end(), is_poison);
    }
};

inline void demand(bool holds, const char* what) {
    if (!holds) printf("%s\n", what);
    failed |= !holds;
}

// Two runs must make the same bits, none of them outside of the output.
template <class Number>
void check_runs(const Output<Number>& one, const Output<Number>& other) {
    demand(!memcmp(one.all.data(), other.all.data(), one.all.size() * sizeof(Number)), "two runs differ");
    demand(other.is_guarded(), "something was written outside of an output");
}

// Runs a kernel twice, with threads in other orders.
template <class... Outputs>
void run(emulated::Grid grid, int threads, std::function<void()> kernel, Outputs&... outputs) {
    emulated::draw.seed(source());
    launch(grid, threads, kernel);
    auto before = std::make_tuple(outputs...);
    (outputs.poison(), ...);
    emulated::draw.seed(source());
    launch(grid, threads, kernel);
    std::apply([&](auto&... kept) { (check_runs(kept, outputs), ...); }, before);
}

// The relative error ‖found − expected‖ / ‖expected‖; nothing must be left unwritten.
inline void compare(const char* name, const std::vector<double>& found, const std::vector<double>& expected,
                    double tolerance) {
    double apart = 0, size = 0;
    for (size_t index = 0; index < expected.size(); index++) {
        double difference = found[index] - expected[index];
        apart += difference * difference;
        size += expected[index] * expected[index];
    }
    double error = sqrt(apart / std::max(size, 1e-300));
    bool is_good = error <= tolerance && expected.size() == found.size();
    printf("  %-28s %.1e%s\n", name, error, is_good ? "" : "  FAILED");
    failed |= !is_good;
}

template <class Number>
void compare(const char* name, Output<Number>& found, const std::vector<double>& expected, double tolerance) {
    compare(name, found.numbers(), expected, tolerance);
}
