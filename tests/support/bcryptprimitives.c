/*
 * Stands in for bcryptprimitives.dll, which Rust's std needs, every supported Windows has and Wine 8 lacks: for tests
 * under Wine alone.
 */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    return length <= MAXDWORD && SystemFunction036(data, (ULONG)length);
}
