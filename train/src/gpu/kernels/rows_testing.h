// What the tests of rows.cu, head.cu and optimizer.cu share: inputs, outputs between guard zones, and comparisons.
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

// An output: poisoned, between guard zones.
template <class Number>
struct Output {
    static constexpr size_t GUARD = 256;
    std::vector<Number> all;
    size_t count;
    explicit Output(size_t count) : all(count + 2 * GUARD), count(count) { poison(); }
    void poison() { memset((void*)all.data(), 0xff, all.size() * sizeof(Number)); }
    Number* data() { return all.data() + GUARD; }
    void check_guards(const char* name) {
        auto is_poison = [](const Number& it) {
            auto bytes = (const unsigned char*)&it;
            return std::all_of(bytes, bytes + sizeof(Number), [](unsigned char byte) { return byte == 0xff; });
        };
        bool before = std::all_of(all.begin(), all.begin() + GUARD, is_poison);
        if (before && std::all_of(all.end() - GUARD, all.end(), is_poison)) return;
        printf("%s: written outside of the output\n", name);
        failed = true;
    }
};

// Runs a kernel twice, with threads in other orders: outputs must be the same bits.
template <class... Outputs>
void run(emulated::Grid grid, int threads, std::function<void()> kernel, Outputs&... outputs) {
    emulated::draw.seed(source());
    launch(grid, threads, kernel);
    auto before = std::make_tuple(outputs.all...);
    (outputs.poison(), ...);
    emulated::draw.seed(source());
    launch(grid, threads, kernel);
    auto same = [](auto& a, auto& b) { return !memcmp(a.data(), b.data(), a.size() * sizeof(a[0])); };
    bool all_same = std::apply([&](auto&... kept) { return (same(kept, outputs.all) && ...); }, before);
    if (!all_same) { printf("two runs differ\n"); failed = true; }
    (outputs.check_guards("a kernel"), ...);
}

// The relative error ‖found − expected‖ / ‖expected‖; nothing must be left unwritten.
template <class Number>
void compare(const char* name, Output<Number>& found, const std::vector<double>& expected, double tolerance) {
    double apart = 0, size = 0;
    for (size_t index = 0; index < expected.size(); index++) {
        double difference = number(found.data()[index]) - expected[index];
        apart += difference * difference;
        size += expected[index] * expected[index];
    }
    double error = sqrt(apart / std::max(size, 1e-300));
    bool is_good = error <= tolerance && expected.size() == found.count;
    printf("  %-28s %.1e%s\n", name, error, is_good ? "" : "  FAILED");
    failed |= !is_good;
}
