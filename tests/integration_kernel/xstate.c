/*
 * Lets User-Mode Linux run on processors with more register state than it knows.
 *
 * It sets its processes' extended state (NT_X86_XSTATE) from a buffer of 2696 bytes, enough up to AVX-512 and PKRU
 * (HOST_FP_SIZE in Linux 6.1, arch/x86/um/user-offsets.c). Where the processor has more, as with AMX, this machine's
 * kernel wants all of it at once, or answers EFAULT (xstateregs_set in arch/x86/kernel/fpu/regset.c). So the state is
 * handed over with zeros behind it. The bits in its own header say that they mean nothing, which is true: a process
 * may use AMX only after arch_prctl(ARCH_REQ_XCOMP_PERM), and User-Mode Linux has no such call.
 *
 * Loaded into linux.uml with LD_PRELOAD, before the C library's ptrace.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* The kernel takes as much as its processor has: 11,008 bytes with AMX. */
static char state[65536];

long ptrace(enum __ptrace_request request, ...)
{
    static long (*library_ptrace)(enum __ptrace_request, ...);
    va_list arguments;
    va_start(arguments, request);
    pid_t process = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (!library_ptrace)
        library_ptrace = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
    const struct iovec *known = data;
    if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE || known->iov_len > sizeof state)
        return library_ptrace(request, process, address, data);

    struct iovec whole = {state, sizeof state};
    memcpy(state, known->iov_base, known->iov_len);
    return library_ptrace(request, process, address, &whole);
}
