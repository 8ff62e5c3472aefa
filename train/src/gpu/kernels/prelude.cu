// What all kernels here are written with: bf16 numbers as their 16 bits, products of 16 × 8 tiles by a warp's tensor
// cores, and copies from global to shared memory that go on while the warp computes. Names and layouts of fragments
// are those of PTX (`mma.m16n8k16`, `ldmatrix`, `cp.async`): any GPU from compute capability 8.0 on has them.

typedef unsigned short bf16;

// `emulated.h` gives these to a processor, so that the kernels' text is tested without a GPU.
#ifndef EMULATED

// An array in shared memory, of a size known when it is compiled (48 KiB in all); and all that the launch adds.
#define SHARED(TYPE, NAME, COUNT) __shared__ __align__(16) TYPE NAME[COUNT]
#define SHARED_OF_LAUNCH(NAME) extern __shared__ __align__(16) unsigned char NAME[]

// Two numbers rounded to bf16, the first in the lower half.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

// 2^x, to about 2 in the last place; 0 for −∞.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// c [16, 8] += a [16, 16] · b [16, 8]. With g = lane / 4 and i = lane % 4, a thread holds
// a: (g, 2i), (g + 8, 2i), (g, 2i + 8), (g + 8, 2i + 8), each with the column after it;
// b: rows 2i, 2i + 1 of column g, and rows 2i + 8, 2i + 9;
// c: (g, 2i), (g, 2i + 1), (g + 8, 2i), (g + 8, 2i + 1).
__device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices of 8 × 8 from shared memory: lane l gives the address of row l % 8 of matrix l / 8, 16 bytes, aligned.
// Of each, the thread gets row lane / 4, columns 2 (lane % 4) and the next.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* row) {
    unsigned address = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// The same of the transposed matrices: column lane / 4, rows 2 (lane % 4) and the next.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&to)[4], const void* row) {
    unsigned address = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// Writes 16 bytes to global memory at once, aligned. (The compiler may split `*(uint4*)to = words` into four.)
__device__ __forceinline__ void store_16(void* to, uint4 words) {
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(words.x), "r"(words.y), "r"(words.z),
                 "r"(words.w)
                 : "memory");
}

// Begins a copy of 16 bytes to shared memory, or of zeros where nothing is there to copy; both addresses are aligned.
__device__ __forceinline__ void copy_16(void* to, const void* from, bool is_there) {
    unsigned address = (unsigned)__cvta_generic_to_shared(to);
    int bytes = is_there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}

// Closes a group of copies.
__device__ __forceinline__ void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most this many groups of the thread's copies are under way.
template <int N>
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#endif

__device__ __forceinline__ float from_bf16(bf16 x) { return __uint_as_float((unsigned)x << 16); }

__device__ __forceinline__ bf16 to_bf16(float x) { return (bf16)(pack_bf16(x, 0.0f) & 0xffff); }

__device__ __forceinline__ float low_bf16(unsigned packed) { return __uint_as_float(packed << 16); }

__device__ __forceinline__ float high_bf16(unsigned packed) { return __uint_as_float(packed & 0xffff0000u); }

// The sum, or the greatest, over groups of so many neighbouring lanes (a power of 2), for all of them.
template <int LANES>
__device__ __forceinline__ float sum_lanes(float x) {
#pragma unroll
    for (int apart = LANES / 2; apart > 0; apart /= 2) x += __shfl_xor_sync(0xffffffffu, x, apart);
    return x;
}

template <int LANES>
__device__ __forceinline__ float greatest_of_lanes(float x) {
#pragma unroll
    for (int apart = LANES / 2; apart > 0; apart /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, apart));
    return x;
}
