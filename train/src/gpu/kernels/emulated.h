// CUDA's threads on a processor, for tests of the kernels' text: each thread of a block is a coroutine, and who goes
// on at a barrier, shuffle or product of tiles is drawn at random, so that a missing barrier shows as a wrong number.
// Shared memory is poisoned before each block; copies to it land as late as they may.
//
// Kernels follow it: `#include "emulated.h"`, `#include "products.cu"`, `launch({gridX, gridY, gridZ}, threads, [&] {
// kernel(…); })`.
#pragma once
#define EMULATED
#include <algorithm>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>
#include <ucontext.h>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __align__(N) alignas(N)

struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulated {
struct Index { unsigned x = 0, y = 0, z = 0; };
enum State { READY, AT_BLOCK, AT_WARP, DONE };
struct Copy { void* to; unsigned char bytes[16]; };
struct Thread {
    ucontext_t context;
    std::vector<char> stack;
    State state = READY;
    std::vector<std::vector<Copy>> groups;  // Copies under way; the last is open.
    // What it brings to a collective of its warp.
    float number = 0;
    const void* row = nullptr;
    unsigned words[6] = {};
};
inline std::vector<Thread> threads;
inline ucontext_t scheduler;
inline int current = 0;
inline std::mt19937 draw(1);
inline std::function<void()> body;

inline void yield(State state) {
    threads[current].state = state;
    swapcontext(&threads[current].context, &scheduler);
}
inline void enter() {
    body();
    threads[current].state = DONE;
    swapcontext(&threads[current].context, &scheduler);
}
inline void land(Thread& thread, size_t left) {
    while (thread.groups.size() - 1 > left) {
        for (Copy& copy : thread.groups.front()) memcpy(copy.to, copy.bytes, 16);
        thread.groups.erase(thread.groups.begin());
    }
}
inline Thread& lane(int index) { return threads[current / 32 * 32 + index]; }
}  // namespace emulated

inline emulated::Index blockIdx, gridDim, blockDim;
struct ThreadIndex {
    struct X { operator int() const { return emulated::current; } } x;
    int y = 0, z = 0;
};
inline ThreadIndex threadIdx;

inline void __syncthreads() { emulated::yield(emulated::AT_BLOCK); }
inline void __syncwarp(unsigned = 0xffffffffu) { emulated::yield(emulated::AT_WARP); }

namespace emulated {
// All shared memory that kernels name is registered here, to be poisoned.
inline std::vector<std::pair<void*, size_t>> shared;
inline void poison() { for (auto& [place, size] : shared) memset(place, 0xff, size); }

inline int share(void* place, size_t size) {
    shared.emplace_back(place, size);
    memset(place, 0xff, size);
    return 0;
}
alignas(16) inline unsigned char of_launch[232448];
inline int of_launch_shared = share(of_launch, sizeof of_launch);

struct Grid { unsigned x = 1, y = 1, z = 1; };
inline void run_block(int count) {
    threads.resize(count);
    for (int index = 0; index < count; index++) {
        Thread& thread = threads[index];
        thread.state = READY;
        thread.groups.assign(1, {});
        thread.stack.resize(1 << 17);
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.data();
        thread.context.uc_stack.ss_size = thread.stack.size();
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, enter, 0);
    }
    std::vector<int> ready(count);
    for (int index = 0; index < count; index++) ready[index] = index;
    int done = 0;
    while (done < count) {
        if (ready.empty()) {
            // Warps all of whose threads wait go on; the block, if all of its threads do.
            bool every = true;
            for (int warp = 0; warp < count; warp += 32) {
                bool all = true, any = false;
                for (int index = warp; index < warp + 32 && index < count; index++) {
                    all &= threads[index].state == AT_WARP;
                    any |= threads[index].state == AT_WARP;
                }
                if (any && !all) { fprintf(stderr, "threads of a warp diverge at a collective\n"); abort(); }
                if (all) for (int index = warp; index < warp + 32 && index < count; index++) {
                    threads[index].state = READY;
                    ready.push_back(index);
                }
            }
            if (ready.empty()) {
                for (int index = 0; index < count; index++) every &= threads[index].state == AT_BLOCK;
                if (!every) { fprintf(stderr, "some threads ended before a barrier of the block\n"); abort(); }
                for (int index = 0; index < count; index++) { threads[index].state = READY; ready.push_back(index); }
            }
        }
        size_t pick = draw() % ready.size();
        std::swap(ready[pick], ready.back());
        current = ready.back();
        ready.pop_back();
        swapcontext(&scheduler, &threads[current].context);
        if (threads[current].state == DONE) done++;
    }
}
inline void launch(Grid grid, int count, std::function<void()> kernel) {
    body = kernel;
    gridDim = {grid.x, grid.y, grid.z};
    blockDim = {(unsigned)count, 1, 1};
    std::vector<Index> blocks;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) blocks.push_back({x, y, z});
    std::shuffle(blocks.begin(), blocks.end(), draw);
    for (Index block : blocks) {
        blockIdx = block;
        poison();
        run_block(count);
    }
}
}  // namespace emulated
using emulated::launch;

#define SHARED(TYPE, NAME, COUNT)            \
    alignas(16) static TYPE NAME[COUNT];     \
    static int NAME##_shared = emulated::share(NAME, sizeof NAME); \
    (void)NAME##_shared
#define SHARED_OF_LAUNCH(NAME) unsigned char* NAME = emulated::of_launch

inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
inline unsigned pack_bf16(float low, float high) {
    auto rounded = [](float x) {
        unsigned bits = __float_as_uint(x);
        return std::isnan(x) ? 0x7fff : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    };
    return rounded(low) | rounded(high) << 16;
}
inline float exp2_fast(float x) { return exp2f(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __fdividef(float x, float y) { return x / y; }
using std::max;
using std::min;

inline float __shfl_xor_sync(unsigned, float x, int apart) {
    int self = emulated::current;
    emulated::threads[self].number = x;
    __syncwarp();
    float got = emulated::lane((self % 32) ^ apart).number;
    __syncwarp();
    return got;
}
// The lanes of the warp for which something is set, as bits.
inline unsigned __ballot_sync(unsigned, bool is_set) {
    emulated::threads[emulated::current].words[0] = is_set;
    __syncwarp();
    unsigned bits = 0;
    for (int index = 0; index < 32; index++) bits |= emulated::lane(index).words[0] << index;
    __syncwarp();
    return bits;
}
inline bool __any_sync(unsigned mask, bool is_set) { return __ballot_sync(mask, is_set) != 0; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    auto& own = emulated::threads[emulated::current];
    for (int index = 0; index < 4; index++) own.words[index] = a[index];
    own.words[4] = b0;
    own.words[5] = b1;
    __syncwarp();
    int lane = emulated::current % 32, g = lane / 4, i = lane % 4;
    for (int index = 0; index < 4; index++) {
        int row = g + index / 2 * 8, column = 2 * i + index % 2;
        double sum = 0;
        for (int k = 0; k < 16; k++) {
            unsigned of_a = emulated::lane(row % 8 * 4 + k % 8 / 2).words[k / 8 * 2 + row / 8];
            unsigned of_b = emulated::lane(column * 4 + k % 8 / 2).words[4 + k / 8];
            auto half = [k](unsigned word) { return __uint_as_float(k % 2 ? word & 0xffff0000u : word << 16); };
            sum += (double)half(of_a) * half(of_b);
        }
        c[index] = (float)(c[index] + sum);
    }
    __syncwarp();
}
inline void gather_matrices(unsigned (&to)[4], const void* row, bool transposed) {
    if ((uintptr_t)row % 16) { fprintf(stderr, "a row of a matrix is not aligned\n"); abort(); }
    emulated::threads[emulated::current].row = row;
    __syncwarp();
    int lane = emulated::current % 32, g = lane / 4, i = lane % 4;
    for (int matrix = 0; matrix < 4; matrix++) {
        auto at = [matrix](int row, int column) {
            return (unsigned)((const uint16_t*)emulated::lane(matrix * 8 + row).row)[column];
        };
        to[matrix] = transposed ? at(2 * i, g) | at(2 * i + 1, g) << 16 : at(g, 2 * i) | at(g, 2 * i + 1) << 16;
    }
    __syncwarp();
}
inline void load_matrices(unsigned (&to)[4], const void* row) { gather_matrices(to, row, false); }
inline void load_matrices_transposed(unsigned (&to)[4], const void* row) { gather_matrices(to, row, true); }
inline void copy_16(void* to, const void* from, bool is_there) {
    if ((uintptr_t)to % 16 || (is_there && (uintptr_t)from % 16)) { fprintf(stderr, "a copy is not aligned\n"); abort(); }
    emulated::Copy copy{to, {}};
    if (is_there) memcpy(copy.bytes, from, 16);
    memset(to, 0xff, 16);
    emulated::threads[emulated::current].groups.back().push_back(copy);
}
inline void store_16(void* to, uint4 words) {
    if ((uintptr_t)to % 16) { fprintf(stderr, "a store is not aligned\n"); abort(); }
    memcpy(to, &words, 16);
}
inline void close_copies() { emulated::threads[emulated::current].groups.emplace_back(); }
template <int N>
inline void wait_for_copies() { emulated::land(emulated::threads[emulated::current], N); }

#include "prelude.cu"
