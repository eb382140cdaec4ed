// What MIM loads: hands each question to the native PhoneGate library in its own folder.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Compiled on the MIM server, against the contract assembly that is there: C# 3 for CLR 2. MIM takes the first type of
// the assembly, so there is only one: nothing here may make the compiler add another (lambdas, iterators, anonymous
// types, arrays of numbers, switches on text). Nothing about a call is kept here: the native library knows it all.
using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Globalization;
using System.IO;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.IdentityManagement.PhoneServiceProvider;

public sealed class CustomPhoneGate : IPhoneServiceProvider
{
    private const string Library = "phonegate.dll"; // Mono reads it as libphonegate.so
    private const uint AbiVersion = 1;
    private const string InstallAgain = " Shim and library are not of one version: run install again.";
    private const int Ok = 0, InvalidArgument = 1, BufferTooSmall = 4;
    private const int LongestMessage = 64 * 1024;

    // Of this AppDomain: the library is loaded, has the right version and all its functions.
    private static volatile bool ready;

    public PhoneCallStatus InitiateCall(string phoneNumber, Guid requestId, Dictionary<string, object> deliveryAttributes)
    {
        try
        {
            if (WhyNotReady() != null) return PhoneCallStatus.Failed;
            return Initiate(Utf8(phoneNumber), Utf8(requestId.ToString("D")), Utf8(Json(deliveryAttributes)));
        }
        catch (Exception)
        {
            return PhoneCallStatus.Failed;
        }
    }

    public PhoneCallStatus GetCallStatus(string callId)
    {
        try
        {
            return WhyNotReady() == null ? Ask(Utf8(callId)) : PhoneCallStatus.Failed;
        }
        catch (Exception)
        {
            return PhoneCallStatus.Failed;
        }
    }

    public string GetFailureMessage(string callId)
    {
        try
        {
            return WhyNotReady() ?? Message(Utf8(callId));
        }
        catch (Exception e)
        {
            return "PhoneGate could not be asked: " + e.Message;
        }
    }

    // A runtime may look for the library as soon as it compiles a method that calls into it, so those methods are apart,
    // and are reached only when the library has been loaded.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static PhoneCallStatus Initiate(byte[] phoneNumber, byte[] requestId, byte[] deliveryAttributes)
    {
        return Status(NativeInitiateCall(phoneNumber, requestId, deliveryAttributes));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static PhoneCallStatus Ask(byte[] callId)
    {
        return Status(NativeGetCallStatus(callId));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static string Message(byte[] callId)
    {
        byte[] buffer = new byte[512];
        UIntPtr needed;
        int result = NativeGetFailureMessage(callId, buffer, new UIntPtr((uint)buffer.Length), out needed);
        if (result == BufferTooSmall)
        {
            buffer = new byte[Math.Min(needed.ToUInt64(), LongestMessage)];
            result = NativeGetFailureMessage(callId, buffer, new UIntPtr((uint)buffer.Length), out needed);
        }
        if (result == InvalidArgument) return "PhoneGate was asked about no call: the call id is null.";
        if (result != Ok && result != BufferTooSmall) return "PhoneGate cannot tell why the call failed (result " + result + ").";
        int end = Array.IndexOf(buffer, (byte)0);
        return Encoding.UTF8.GetString(buffer, 0, end < 0 ? buffer.Length : end);
    }

    // By name, since the numbers of MIM's enum are not documented. What is not known is a failure.
    private static PhoneCallStatus Status(int native)
    {
        switch (native)
        {
            case 0: return PhoneCallStatus.Pending;
            case 1: return PhoneCallStatus.Success;
            default: return PhoneCallStatus.Failed;
        }
    }

    // NUL-terminated. Ids and numbers are ASCII, and a host polls often: one pass, one array.
    private static byte[] Utf8(string text)
    {
        if (text == null) return null;
        byte[] bytes = new byte[text.Length + 1];
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c == '\0' || c > '\u007f') return Utf8OfAnyText(text);
            bytes[i] = (byte)c;
        }
        return bytes;
    }

    // A NUL or half a surrogate pair inside the text becomes the byte FF, which is never UTF-8: the library then
    // refuses the text and records why. A repaired or shortened text could be another number.
    private static byte[] Utf8OfAnyText(string text)
    {
        char[] characters = (text + "\0").ToCharArray();
        for (int i = 0; i < text.Length; i++) if (IsHalfAPair(text, i)) characters[i] = '\0';
        byte[] bytes = Encoding.UTF8.GetBytes(characters);
        for (int i = 0; i < bytes.Length - 1; i++) if (bytes[i] == 0) bytes[i] = 0xFF;
        return bytes;
    }

    // Null where there is nothing to tell, also when the host changes the dictionary meanwhile: attributes fail no call.
    private static string Json(Dictionary<string, object> attributes)
    {
        if (attributes == null) return null;
        try
        {
            StringBuilder json = new StringBuilder("{");
            foreach (KeyValuePair<string, object> attribute in attributes)
            {
                if (json.Length > 1) json.Append(',');
                AppendQuoted(json, attribute.Key);
                json.Append(':');
                AppendValue(json, attribute.Value);
            }
            return json.Append('}').ToString();
        }
        catch (Exception)
        {
            return null;
        }
    }

    private static void AppendValue(StringBuilder json, object value)
    {
        string text = Text(value);
        TypeCode type = value == null ? TypeCode.Empty : Type.GetTypeCode(value.GetType());
        bool number = type >= TypeCode.SByte && type <= TypeCode.Decimal && !(value is Enum);
        if (text == null) json.Append("null");
        else if (value is bool) json.Append((bool)value ? "true" : "false");
        else if (number && char.IsDigit(text[text.Length - 1])) json.Append(text); // not NaN, not Infinity
        else AppendQuoted(json, text);
    }

    private static string Text(object value)
    {
        if (value == null || value is DBNull) return null;
        string format = value is DateTime || value is DateTimeOffset ? "o" : value is double || value is float ? "R" : null;
        try
        {
            if (format != null) return ((IFormattable)value).ToString(format, CultureInfo.InvariantCulture);
            return Convert.ToString(value, CultureInfo.InvariantCulture);
        }
        catch (Exception) // a ToString of the host's
        {
            return null;
        }
    }

    private static void AppendQuoted(StringBuilder json, string text)
    {
        json.Append('"');
        for (int i = 0; i < text.Length; i++)
        {
            char c = IsHalfAPair(text, i) ? '\uFFFD' : text[i];
            if (c == '"' || c == '\\') json.Append('\\').Append(c);
            else if (c >= ' ' && c <= '~') json.Append(c);
            else json.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
        }
        json.Append('"');
    }

    private static bool IsHalfAPair(string text, int at)
    {
        if (!char.IsSurrogate(text[at])) return false;
        return !(char.IsSurrogatePair(text, at) || at > 0 && char.IsSurrogatePair(text, at - 1));
    }

    // Null when calls can be handed on. Asked anew until it is so: a library that was mended needs no restart of MIM.
    private static string WhyNotReady()
    {
        if (ready) return null;
        string why = Load() ?? WhyUnfit();
        ready = why == null;
        return why;
    }

    // By absolute path, so that no search path can bring in another file; the imports below then bind to this one.
    private static string Load()
    {
        bool windows = Path.DirectorySeparatorChar == '\\';
        string tried = "";
        string last = null;
        foreach (string folder in Folders())
        {
            string path = Path.Combine(folder, windows ? Library : "libphonegate.so");
            if (path == last) continue;
            string error = !File.Exists(path) ? "there is no such file; run install again" : windows ? LoadOnWindows(path) : LoadOnUnix(path);
            if (error == null) return null;
            tried += " " + path + ": " + error + ".";
            last = path;
        }
        return "PhoneGate's library cannot be loaded into this " + 8 * IntPtr.Size + "-bit process. Tried" + tried;
    }

    // Where the shim is, and where it was before a host that copies assemblies away did so. A host that reads assemblies
    // into memory leaves only its own folder to look in.
    private static string[] Folders()
    {
        Assembly shim = typeof(CustomPhoneGate).Assembly;
        if (shim.Location.Length == 0) return new string[] { AppDomain.CurrentDomain.BaseDirectory };
        // Newer runtimes leave a # unescaped, where the path would end.
        string origin = new Uri(shim.EscapedCodeBase.Replace("#", "%23")).LocalPath;
        return new string[] { Path.GetDirectoryName(shim.Location), Path.GetDirectoryName(origin) };
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static string WhyUnfit()
    {
        try
        {
            uint version = NativeAbiVersion();
            if (version != AbiVersion)
                return "PhoneGate's library speaks version " + version + " and CustomPhoneGate.dll version " + AbiVersion + "." + InstallAgain;
            foreach (string import in new string[] { "NativeInitiateCall", "NativeGetCallStatus", "NativeGetFailureMessage" })
                Marshal.Prelink(typeof(CustomPhoneGate).GetMethod(import, BindingFlags.NonPublic | BindingFlags.Static));
            return null;
        }
        catch (EntryPointNotFoundException e)
        {
            return "PhoneGate's library lacks a function: " + e.Message + "." + InstallAgain;
        }
    }

    private static string LoadOnWindows(string path)
    {
        if (LoadLibraryEx(path, IntPtr.Zero, 8) != IntPtr.Zero) return null; // 8: LOAD_WITH_ALTERED_SEARCH_PATH
        int error = Marshal.GetLastWin32Error();
        if (error == 193) return "it is damaged, or for processes that are not " + 8 * IntPtr.Size + "-bit"; // ERROR_BAD_EXE_FORMAT
        return new Win32Exception(error).Message + " (error " + error + ")";
    }

    private static string LoadOnUnix(string path)
    {
        dlerror();
        if (dlopen(Utf8(path), 2) != IntPtr.Zero) return null; // 2: RTLD_NOW
        return Marshal.PtrToStringAnsi(dlerror()) ?? "the system does not tell why";
    }

    [DllImport(Library, EntryPoint = "PhoneGateAbiVersion", CallingConvention = CallingConvention.Cdecl, ExactSpelling = true)]
    private static extern uint NativeAbiVersion();

    [DllImport(Library, EntryPoint = "InitiateCall", CallingConvention = CallingConvention.Cdecl, ExactSpelling = true)]
    private static extern int NativeInitiateCall(byte[] phoneNumber, byte[] requestId, byte[] deliveryAttributes);

    [DllImport(Library, EntryPoint = "GetCallStatus", CallingConvention = CallingConvention.Cdecl, ExactSpelling = true)]
    private static extern int NativeGetCallStatus(byte[] callId);

    [DllImport(Library, EntryPoint = "GetFailureMessage", CallingConvention = CallingConvention.Cdecl, ExactSpelling = true)]
    private static extern int NativeGetFailureMessage(byte[] callId, byte[] buffer, UIntPtr capacity, out UIntPtr needed);

    [DllImport("kernel32.dll", EntryPoint = "LoadLibraryExW", CharSet = CharSet.Unicode, SetLastError = true, ExactSpelling = true)]
    private static extern IntPtr LoadLibraryEx(string path, IntPtr reserved, uint flags);

    [DllImport("libdl.so.2", CallingConvention = CallingConvention.Cdecl)]
    private static extern IntPtr dlopen(byte[] path, int flags);

    [DllImport("libdl.so.2", CallingConvention = CallingConvention.Cdecl)]
    private static extern IntPtr dlerror();
}
