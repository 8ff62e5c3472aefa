// products.cu against loops in double precision:
// g++ -std=c++20 -O1 -w -DROWS=100 -DCOLUMNS=192 -DINNER=64 -DEPILOGUE=0 products_test.cpp
// and with whatever other macros of it.
#include "testing.h"

#define FACTOR_A -4.775f
#define FACTOR_B 2.0315f
#ifndef ACTIVATION
#define ACTIVATION 0
#endif
#include "products.cu"

typedef std::vector<double> Numbers;
constexpr size_t CELLS = (size_t)ROWS * COLUMNS;

double activated(double x) {
    if (ACTIVATION == SQUARED_RELU) return x > 0 ? x * x : 0;
    if (ACTIVATION == LEAKY_SQUARED_RELU) return x > 0 ? x * x : x * x / 4;
    return 0.5 * x * (1 + tanh(0.797884560802865 * (x + 0.044715 * x * x * x)));
}

// By differences, so that the formula is not the kernel's.
double derivative(double x) { return (activated(x + 1e-5) - activated(x - 1e-5)) / 2e-5; }

Numbers products_of(const std::vector<bf16>& a, const std::vector<bf16>& b) {
    Numbers products(BATCH * CELLS);
    for (size_t cell = 0; cell < products.size(); cell++) {
        size_t matrix = cell / CELLS, row = cell % CELLS / COLUMNS, column = cell % COLUMNS;
        for (size_t k = 0; k < INNER; k++) {
            size_t of_a = LEFT_TRANSPOSED ? k * ROWS + row : row * INNER + k;
            size_t of_b = RIGHT_TRANSPOSED ? column * INNER + k : k * COLUMNS + column;
            products[cell] += number(a[matrix * ROWS * INNER + of_a]) * number(b[matrix * COLUMNS * INNER + of_b]);
        }
    }
    return products;
}

int main() {
    auto a = rounded(normal(BATCH * ROWS * INNER)), b = rounded(normal(BATCH * COLUMNS * INNER, 1 / sqrtf(INNER)));
    auto singles = normal(BATCH * CELLS);
    auto halves = rounded(singles);
#if EPILOGUE == OUT_F32 || EPILOGUE == ADD
    Output<float> c(BATCH * PARTS * CELLS);
    double rounding = 1e-6;
#else
    Output<bf16> c(BATCH * CELLS);
    // 2^-9 at most, 1.7e-3 in quadratic mean at worst; twice where the product is rounded before.
    double rounding = EPILOGUE == ACTIVATE_BACKWARD ? 3e-3 : 2e-3;
#endif
    Output<bf16> before(BATCH * CELLS);
    auto kernel = [&] {
#if EPILOGUE == ADD
        product(a.data(), b.data(), singles.data(), c.data());
#elif EPILOGUE == ACTIVATE
        product(a.data(), b.data(), before.data(), c.data());
#elif EPILOGUE == ACTIVATE_BACKWARD || EPILOGUE == SCALED
        product(a.data(), b.data(), halves.data(), c.data());
#else
        product(a.data(), b.data(), c.data());
#endif
    };
    run({ROW_TILES * BLOCKS_A_ROW, PARTS, BATCH}, THREADS, kernel, c, before);

    Numbers products = products_of(a, b), expected, parts = c.numbers(), sums(BATCH * CELLS);
    for (size_t cell = 0; cell < products.size(); cell++) {
        double x = products[cell];
#if EPILOGUE == ADD
        x += singles[cell];
#elif EPILOGUE == ACTIVATE
        x = activated(number(before.data()[cell]));
#elif EPILOGUE == ACTIVATE_BACKWARD
        x *= derivative(number(halves[cell]));
#elif EPILOGUE == SCALED
        x = FACTOR_A * number(halves[cell]) + FACTOR_B * x;
#endif
        expected.push_back(x);
    }
    for (size_t at = 0; at < parts.size(); at++) sums[at / (PARTS * CELLS) * CELLS + at % CELLS] += parts[at];
    compare("product", sums, expected, rounding);
#if EPILOGUE == ACTIVATE
    compare("before the activation", before, products, rounding);
#endif
    return failed;
}
