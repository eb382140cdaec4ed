/*
 * Starts PhoneGate three times without a configuration. Exit code: 0 if it was refused each time.
 */
#include "phonegate.h"

int main(void) {
    int i;
    for (i = 0; i < 3; i++) {
        if (PhoneGateInitialize(NULL, NULL, 0, NULL) != PHONEGATE_CONFIG_NOT_FOUND) return 1;
    }
    return PhoneGateShutdown(60000);
}
