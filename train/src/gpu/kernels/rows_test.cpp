// rows.cu against loops in double precision, a section at a time, which the macros choose:
// g++ -std=c++20 -O1 -w -DROWS=101 -DWIDTH=72 rows_test.cpp
// with -DSCALE=1.7f embeddings; with -DTIME=101 convolutions, and -DPARTS=3 their gradients; with -DPARTS=3 sums of
// columns; with -DPARTS=3 -DVOCABULARY=257 -DENTRIES=1 -DSCALE=1.7f the gradient of a table; and -DCOUNT=1001 alone, or
// with -DPARTS=3.
#include "testing.h"

#include "rows.cu"

typedef std::vector<double> Numbers;
#ifdef WIDTH
const size_t SIZE = (size_t)ROWS * WIDTH;
#endif

#ifdef NORMS
Numbers inverses(const std::vector<float>& x) {
    Numbers inverse;
    for (size_t row = 0; row < ROWS; row++) {
        double sum = 0;
        for (size_t at = row * WIDTH; at < (row + 1) * WIDTH; at++) sum += (double)x[at] * x[at];
        inverse.push_back(1 / sqrt(sum / WIDTH + 1e-6));
    }
    return inverse;
}

template <class Number>
Numbers norm_gradient(const std::vector<float>& x, const std::vector<Number>& upstream) {
    Numbers inverse = inverses(x), expected;
    for (size_t row = 0; row < ROWS; row++) {
        double along = 0;
        for (size_t at = row * WIDTH; at < (row + 1) * WIDTH; at++) {
            along += x[at] * inverse[row] * number(upstream[at]);
        }
        for (size_t at = row * WIDTH; at < (row + 1) * WIDTH; at++) {
            expected.push_back((number(upstream[at]) - x[at] * inverse[row] * along / WIDTH) * inverse[row]);
        }
    }
    return expected;
}

void test() {
    unsigned blocks = divide_up(ROWS, BLOCK_ROWS);
    auto x = normal(SIZE, 3), upstream = normal(SIZE), gradient = normal(SIZE);
    auto halves = rounded(upstream);
    Numbers inverse = inverses(x), expected;
    for (size_t at = 0; at < SIZE; at++) expected.push_back(x[at] * inverse[at / WIDTH]);
    Output<bf16> half(SIZE);
    Output<float> whole(SIZE);
    run({blocks}, 256, [&] { normalize(x.data(), half.data()); }, half);
    compare("normalize", half, expected, 3e-3);
    run({blocks}, 256, [&] { normalize_single(x.data(), whole.data()); }, whole);
    compare("normalize_single", whole, expected, 3e-7);
    expected = norm_gradient(x, halves);
    for (size_t at = 0; at < SIZE; at++) expected[at] += gradient[at];
    auto backward = [&] { normalize_backward(x.data(), halves.data(), gradient.data(), whole.data()); };
    run({blocks}, 256, backward, whole);
    compare("normalize_backward", whole, expected, 3e-7);
    run({blocks}, 256, [&] { normalize_single_backward(x.data(), upstream.data(), whole.data()); }, whole);
    compare("normalize_single_backward", whole, norm_gradient(x, upstream), 5e-7);
}

#endif

#if defined(EMBEDDING) || defined(TABLE_GRADIENT)
#ifndef VOCABULARY
#define ENTRIES_OF_TABLE 257
#else
#define ENTRIES_OF_TABLE VOCABULARY
#endif
// Tokens of which one is frequent.
std::vector<int> draw_tokens() {
    std::vector<int> tokens;
    for (int row = 0; row < ROWS; row++) tokens.push_back(source() % 5 ? source() % ENTRIES_OF_TABLE : 32);
    return tokens;
}

#endif

#ifdef EMBEDDING
void test() {
    unsigned blocks = divide_up(ROWS, BLOCK_ROWS);
    auto table = normal((size_t)ENTRIES_OF_TABLE * WIDTH);
    auto tokens = draw_tokens();
    Numbers expected;
    for (size_t at = 0; at < SIZE; at++) {
        expected.push_back(table[(size_t)tokens[at / WIDTH] * WIDTH + at % WIDTH] * SCALE);
    }
    Output<float> out(SIZE);
    run({blocks}, 256, [&] { embed(table.data(), tokens.data(), out.data()); }, out);
    compare("embed", out, expected, 1e-7);
}
#endif

#ifdef TABLE_GRADIENT
void test() {
    auto gradient = normal(SIZE);
    auto tokens = draw_tokens();
    Output<float> parts((size_t)PARTS * VOCABULARY * WIDTH);
    emulated::Grid grid{(unsigned)divide_up(VOCABULARY, ENTRIES), PARTS, (unsigned)divide_up(WIDTH, 4 * TABLE_THREADS)};
    run(grid, TABLE_THREADS, [&] { table_gradient(tokens.data(), gradient.data(), parts.data()); }, parts);
    Numbers expected(parts.count);
    for (size_t at = 0; at < SIZE; at++) {
        size_t part = at / WIDTH / divide_up(ROWS, PARTS), entry = part * VOCABULARY + tokens[at / WIDTH];
        expected[entry * WIDTH + at % WIDTH] += (double)gradient[at] * SCALE;
    }
    compare("table_gradient", parts, expected, 5e-7);
}

#endif

#ifdef TIME
void test() {
    auto x = normal(SIZE), taps = normal(4 * WIDTH), gradient = normal(SIZE);
    Numbers forward(SIZE), back(SIZE), of_taps(4 * WIDTH), none;
    for (int row = 0; row < ROWS; row++)
        for (int k = 0; k <= std::min(row % TIME, 3); k++)
            for (int column = 0; column < WIDTH; column++) {
                size_t at = (size_t)row * WIDTH + column, from = at - k * WIDTH, tap = k * WIDTH + column;
                forward[at] += (double)taps[tap] * x[from];
                back[from] += (double)taps[tap] * gradient[at];
                of_taps[tap] += (double)gradient[at] * x[from];
            }
    Output<float> out(SIZE);
#ifdef CONVOLUTION
    unsigned blocks = divide_up(divide_up(ROWS, 16) * (WIDTH / 4), 128);
    run({blocks}, 128, [&] { convolve(x.data(), taps.data(), out.data()); }, out);
    compare("convolve", out, forward, 3e-7);
#else
    Output<float> parts(PARTS * 4 * WIDTH), sum(4 * WIDTH);
    auto backward = [&] { convolve_backward(x.data(), taps.data(), gradient.data(), out.data(), parts.data()); };
    run({PARTS, (unsigned)divide_up(WIDTH, 256)}, 256, backward, out, parts);
    compare("convolve_backward of x", out, back, 3e-7);
    for (size_t at = 0; at < sum.count; at++) {
        sum.data()[at] = 0;
        for (size_t part = 0; part < PARTS; part++) sum.data()[at] += parts.data()[part * sum.count + at];
    }
    compare("convolve_backward of taps", sum, of_taps, 2e-6);
#endif
}
#endif

#ifdef ROUND
void test() {
    auto x = normal(COUNT);
    Output<bf16> out(COUNT);
    run({(unsigned)divide_up(COUNT, 2048)}, 256, [&] { round_to_bf16(x.data(), out.data()); }, out);
    Numbers expected;
    for (float number : x) expected.push_back(from_bf16(to_bf16(number)));
    compare("round_to_bf16", out, expected, 0);
}

#endif

#ifdef SUM_PARTS
void test() {
    auto parts = normal((size_t)PARTS * COUNT);
    Output<float> out(COUNT);
    unsigned blocks = divide_up(COUNT, 256 / ADD_GROUPS * ADD_PIECE);
    run({blocks}, 256, [&] { sum_parts(parts.data(), out.data()); }, out);
    Numbers expected(COUNT);
    for (size_t at = 0; at < parts.size(); at++) expected[at % COUNT] += parts[at];
    compare("sum_parts", out, expected, 5e-7);
}
#endif

#ifdef COLUMN_SUMS
void test() {
    auto x = rounded(normal(SIZE));
    Output<float> parts(PARTS * WIDTH);
    unsigned columns = divide_up(divide_up(WIDTH, SUM_PIECE), 64);
    run({PARTS, columns}, 256, [&] { column_sums(x.data(), parts.data()); }, parts);
    Numbers expected(parts.count);
    for (size_t at = 0; at < SIZE; at++) {
        expected[at / WIDTH / divide_up(ROWS, PARTS) * WIDTH + at % WIDTH] += number(x[at]);
    }
    compare("column_sums", parts, expected, 1e-6);
}
#endif

int main() {
    test();
    return failed;
}
