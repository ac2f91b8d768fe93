"""What consent walls, error pages and paywalls say, in the languages that news comes in.

All in lower case, one space between words, straight apostrophes, every number a 0. Each phrase addresses the reader or
is a server's own message: an article about cookies, about a broken page or about subscriptions says it otherwise.
"""

from __future__ import annotations

CONSENT = (
    # English
    "we use cookies", "this site uses cookies", "this website uses cookies", "our site uses cookies",
    "our website uses cookies", "uses cookies to ensure", "by continuing to use this site",
    "by clicking accept", 'by clicking "accept', "by clicking “accept", "accept all cookies", "accept all",
    "reject all", "manage preferences", "manage cookies", "manage your choices", "cookie settings",
    "cookie preferences", "cookie policy", "we value your privacy", "we and our partners",
    "we and our 0 partners", "our partners and we", "store and/or access information on a device",
    "personalised ads and content", "personalized ads and content", "personalised advertising and content",
    "personalized advertising and content", "legitimate interest", "withdraw your consent",
    "change your preferences", "consent to the use of cookies", "consent to our use of cookies",
    "strictly necessary cookies", "before you continue to",
    # German
    "wir verwenden cookies", "wir nutzen cookies", "diese website verwendet cookies",
    "diese webseite verwendet cookies", "wir und unsere partner", "wir und unsere 0 partner",
    "alle akzeptieren", "alle cookies akzeptieren", "alle ablehnen", "cookie-einstellungen",
    "ihre zustimmung", "ihre einwilligung", "zustimmen und weiter", "einstellungen verwalten",
    "mit werbung und tracking", "personalisierte anzeigen", "datenschutzeinstellungen",
    "berechtigtes interesse", "ihre privatsphäre",
    # French
    "nous utilisons des cookies", "ce site utilise des cookies", "nous et nos partenaires",
    "nous et nos 0 partenaires", "avec nos partenaires", "tout accepter", "tout refuser",
    "accepter et continuer", "continuer sans accepter", "gérer mes choix", "paramétrer les cookies",
    "paramétrer mes choix", "votre consentement", "vos préférences",
    "stocker et/ou accéder à des informations", "publicités et contenu personnalisés",
    "le respect de votre vie privée",
    # Spanish
    "utilizamos cookies", "usamos cookies", "este sitio utiliza cookies", "este sitio web utiliza cookies",
    "nosotros y nuestros socios", "nosotros y nuestros 0 socios", "aceptar todo", "aceptar todas",
    "aceptar y continuar", "rechazar todo", "rechazar todas", "configurar cookies", "su consentimiento",
    "tu consentimiento", "política de cookies", "almacenar o acceder a información",
    "anuncios y contenido personalizados",
    # Portuguese
    "nós usamos cookies", "este site usa cookies", "este site utiliza cookies", "nós e os nossos parceiros",
    "nós e nossos parceiros", "aceitar todos", "aceitar tudo", "rejeitar todos", "rejeitar tudo",
    "gerir preferências", "gerenciar preferências", "o seu consentimento", "seu consentimento",
    "armazenar e/ou aceder a informações",
    # Italian
    "utilizziamo i cookie", "utilizziamo cookie", "questo sito utilizza cookie",
    "questo sito utilizza i cookie", "noi e i nostri partner", "noi e i nostri 0 partner", "accetta tutto",
    "accetta tutti", "rifiuta tutto", "accetta e continua", "gestisci le preferenze", "il tuo consenso",
    "il consenso ai cookie", "cookie tecnici", "continua senza accettare",
    "archiviare informazioni su dispositivo",
    # Dutch
    "wij gebruiken cookies", "we gebruiken cookies", "deze website gebruikt cookies",
    "deze site gebruikt cookies", "maakt gebruik van cookies", "wij en onze partners",
    "wij en onze 0 partners", "alles accepteren", "alle cookies accepteren", "alles weigeren",
    "cookies accepteren", "cookie-instellingen", "cookies instellen", "jouw toestemming", "uw toestemming",
    "voorkeuren aanpassen", "gepersonaliseerde advertenties",
    # Scandinavian languages and Finnish
    "vi använder cookies", "vi använder kakor", "vi och våra partner", "acceptera alla", "godkänn alla",
    "avvisa alla", "hantera inställningar", "ditt samtycke", "vi bruker cookies",
    "vi bruker informasjonskapsler", "vi og våre partnere", "godta alle", "avvis alle", "ditt samtykke",
    "vi bruger cookies", "vi og vores partnere", "accepter alle", "tillad alle", "afvis alle", "dit samtykke",
    "käytämme evästeitä", "hyväksy kaikki", "hylkää kaikki", "suostumuksesi", "me ja kumppanimme",
    # Polish, Czech, Slovak, Hungarian, Romanian, Croatian
    "używamy plików cookie", "korzystamy z plików cookie", "ta strona używa plików cookie",
    "my i nasi partnerzy", "akceptuję wszystkie", "zaakceptuj wszystkie", "odrzuć wszystkie",
    "przejdź do serwisu", "twoja zgoda", "zarządzaj ustawieniami", "používáme cookies",
    "používáme soubory cookie", "my a naši partneři", "přijmout vše", "odmítnout vše", "přijmout všechny",
    "váš souhlas", "používame cookies", "používame súbory cookie", "prijať všetko", "sütiket használunk",
    "cookie-kat használunk", "az összes elfogadása", "hozzájárulását", "folosim cookie-uri",
    "utilizăm cookie-uri", "acceptă toate", "respinge toate", "consimțământul dumneavoastră",
    "koristimo kolačiće", "prihvati sve", "odbij sve",
    # Greek, Turkish, Russian, Ukrainian, Bulgarian
    "χρησιμοποιούμε cookies", "εμείς και οι συνεργάτες μας", "αποδοχή όλων", "απόρριψη όλων",
    "τη συγκατάθεσή σας", "çerezler kullanıyoruz", "çerez kullanıyoruz", "çerezleri kullanıyoruz",
    "tümünü kabul et", "tümünü reddet", "çerez ayarları", "çerez politikası", "мы используем файлы cookie",
    "мы используем cookie", "сайт использует файлы cookie", "сайт использует cookie", "принять все",
    "отклонить все", "настройки cookie", "ваше согласие", "ми використовуємо файли cookie", "прийняти всі",
    "відхилити всі", "ваша згода", "използваме бисквитки", "приемам всички", "вашето съгласие",
    # Arabic, Hebrew, Persian, Hindi
    "نستخدم ملفات تعريف الارتباط", "يستخدم هذا الموقع ملفات تعريف الارتباط", "قبول الكل", "رفض الكل",
    "سياسة ملفات تعريف الارتباط", "אנו משתמשים בעוגיות", "אתר זה משתמש בעוגיות", "קבל הכל", "אשר הכל",
    "דחה הכל", "ما از کوکی‌ها استفاده می‌کنیم", "این سایت از کوکی", "हम कुकीज़ का उपयोग", "सभी स्वीकार करें",
    "कुकी नीति",
    # Chinese, Japanese, Korean, Thai, Vietnamese, Indonesian
    "我们使用cookie", "我们使用 cookie", "本网站使用cookie", "本网站使用 cookie", "接受所有", "全部接受",
    "拒绝所有", "全部拒绝", "管理偏好", "隐私设置", "我們使用cookie", "我們使用 cookie", "本網站使用cookie",
    "本網站使用 cookie", "接受全部", "拒絕所有", "全部拒絕", "cookieを使用しています",
    "クッキーを使用しています", "cookieを使用します", "すべて許可", "すべて受け入れる", "すべて同意する",
    "すべて拒否", "cookie設定", "同意して続行", "쿠키를 사용합니다", "모두 수락", "모두 동의", "모두 거부",
    "쿠키 설정", "เว็บไซต์นี้ใช้คุกกี้", "เราใช้คุกกี้", "ยอมรับทั้งหมด", "ปฏิเสธทั้งหมด", "ตั้งค่าคุกกี้",
    "chúng tôi sử dụng cookie", "trang web này sử dụng cookie", "chấp nhận tất cả", "từ chối tất cả",
    "kami menggunakan cookie", "situs ini menggunakan cookie", "terima semua", "tolak semua",
)  # fmt: skip
"""Two different ones at least, since some stand in ordinary sentences."""

ERROR = (
    # English
    "0 not found", "error 0", "0 error", "0 forbidden", "0 bad gateway", "0 service unavailable",
    "http error 0", "page not found", "page cannot be found", "page can't be found", "page can not be found",
    "page could not be found", "page you requested", "page you are looking for", "page you're looking for",
    "page you were looking for", "sorry, we can't find", "sorry, we couldn't find",
    "that page can't be found", "this page doesn't exist", "this page isn't available",
    "this page is no longer available", "article is no longer available", "content is no longer available",
    "this content is not available", "content is not available in your", "not available in your country",
    "not available in your region", "access denied", "access to this page has been denied",
    "you don't have permission to access", "you do not have permission to access",
    "you are not authorized to", "enable javascript", "please enable javascript",
    "you need to enable javascript", "enable javascript to run this app", "enable javascript in your browser",
    "enable javascript and cookies", "javascript is disabled", "javascript is not enabled",
    "javascript is required", "requires javascript", "please enable cookies", "please turn on javascript",
    "your browser does not support", "your browser is not supported", "your browser is out of date",
    "please disable your ad blocker", "please turn off your ad blocker", "checking your browser",
    "checking if the site connection is secure", "verify you are human", "verify that you are human",
    "verifying you are human", "verify you are not a robot", "confirm you are not a robot", "are you a robot",
    "prove you're not a robot", "complete the security check", "complete the captcha", "solve the captcha",
    "our systems have detected unusual traffic", "unusual traffic from your", "unusual activity from your",
    "your ip address has been blocked", "you have been blocked", "your request has been blocked",
    "request blocked", "cloudflare ray id", "ray id:", "attention required!", "ddos protection by",
    "performance & security by cloudflare", "just a moment...", "too many requests", "request timed out",
    "gateway timeout", "gateway time-out", "internal server error", "service temporarily unavailable",
    "the service is temporarily unavailable", "temporarily down for maintenance", "site is under maintenance",
    "site is currently unavailable", "this site can't be reached", "something went wrong, please",
    "an error occurred while processing your request", "an error has occurred, please",
    "this video is unavailable", "nothing was found at this location", "return to the homepage",
    "go back to the homepage", "back to homepage", "the requested url", "reference #0",
    # German, Dutch
    "seite nicht gefunden", "seite wurde nicht gefunden", "seite konnte nicht gefunden werden",
    "die gesuchte seite", "die angeforderte seite", "die von ihnen aufgerufene seite", "zugriff verweigert",
    "zugriff auf diese seite wurde verweigert", "bitte aktivieren sie javascript",
    "javascript ist deaktiviert", "bitte deaktivieren sie ihren adblocker",
    "bestätigen sie, dass sie kein roboter sind", "zurück zur startseite",
    "dieser artikel ist nicht mehr verfügbar", "pagina niet gevonden", "de pagina die je zoekt",
    "de pagina die u zoekt", "deze pagina bestaat niet", "toegang geweigerd", "schakel javascript in",
    "javascript is uitgeschakeld", "je bent geen robot", "terug naar de homepage", "naar de voorpagina",
    # French, Italian
    "page introuvable", "page non trouvée", "la page que vous cherchez", "la page que vous recherchez",
    "la page demandée", "cette page n'existe pas", "cette page n'existe plus", "accès refusé",
    "accès interdit", "veuillez activer javascript", "activez javascript", "javascript est désactivé",
    "vous n'êtes pas un robot", "retour à l'accueil", "pagina non trovata", "la pagina che stai cercando",
    "la pagina richiesta", "accesso negato", "abilita javascript", "attiva javascript", "non sei un robot",
    "torna alla home",
    # Spanish, Portuguese
    "página no encontrada", "no se encontró la página", "la página que buscas", "la página que busca",
    "la página solicitada", "acceso denegado", "habilite javascript", "habilita javascript",
    "active javascript", "no eres un robot", "no es un robot", "volver al inicio", "página não encontrada",
    "a página que procura", "a página que você procura", "a página que você está procurando", "acesso negado",
    "habilite o javascript", "ative o javascript", "não é um robô", "voltar à página inicial",
    # Scandinavian languages and Finnish
    "sidan kunde inte hittas", "sidan hittades inte", "sidan du söker", "åtkomst nekad",
    "aktivera javascript", "siden ble ikke funnet", "siden finnes ikke", "fant ikke siden",
    "siden blev ikke fundet", "siden findes ikke", "adgang nægtet", "ingen tilgang til siden",
    "aktiver javascript", "slå javascript til", "slå på javascript", "sivua ei löytynyt", "sivua ei löydy",
    "etsimääsi sivua", "pääsy estetty", "ota javascript käyttöön",
    # Polish, Czech, Slovak, Hungarian, Romanian, Croatian
    "nie znaleziono strony", "strona nie istnieje", "strona nie została znaleziona", "strona, której szukasz",
    "odmowa dostępu", "brak dostępu do strony", "włącz javascript", "włącz obsługę javascript",
    "nie jesteś robotem", "stránka nenalezena", "stránka nebyla nalezena", "stránka neexistuje",
    "hledaná stránka", "přístup odepřen", "zapněte javascript", "povolte javascript", "stránka sa nenašla",
    "prístup zamietnutý", "az oldal nem található", "a keresett oldal", "hozzáférés megtagadva",
    "engedélyezze a javascript", "pagina nu a fost găsită", "pagina pe care o căutați", "acces interzis",
    "activați javascript", "stranica nije pronađena", "stranica ne postoji", "pristup odbijen",
    # Greek, Turkish, Russian, Ukrainian, Bulgarian
    "η σελίδα δεν βρέθηκε", "η σελίδα που ζητήσατε", "η σελίδα που αναζητάτε", "δεν επιτρέπεται η πρόσβαση",
    "ενεργοποιήστε τη javascript", "sayfa bulunamadı", "aradığınız sayfa", "erişim engellendi",
    "erişim reddedildi", "javascript'i etkinleştirin", "robot olmadığınızı", "страница не найдена",
    "страница не существует", "запрашиваемая страница", "доступ запрещен", "доступ запрещён",
    "доступ ограничен", "включите javascript", "подтвердите, что вы не робот", "сторінку не знайдено",
    "сторінка не знайдена", "доступ заборонено", "увімкніть javascript", "страницата не е намерена",
    "достъпът е отказан",
    # Arabic, Hebrew, Persian, Hindi
    "الصفحة غير موجودة", "لم يتم العثور على الصفحة", "الصفحة التي تبحث عنها", "تم رفض الوصول",
    "يرجى تفعيل جافا سكريبت", "יש להפעיל javascript", "הדף לא נמצא", "העמוד לא נמצא", "הגישה נדחתה",
    "صفحه مورد نظر یافت نشد", "صفحه پیدا نشد", "पेज नहीं मिला", "पृष्ठ नहीं मिला",
    # Chinese, Japanese, Korean, Thai, Vietnamese, Indonesian
    "页面不存在", "找不到页面", "页面未找到", "您访问的页面", "您要访问的页面", "访问被拒绝",
    "请启用javascript", "请启用 javascript", "请完成验证", "您的请求过于频繁", "頁面不存在", "找不到頁面",
    "您訪問的頁面", "存取被拒", "請啟用javascript", "請啟用 javascript", "ページが見つかりません",
    "ページは見つかりません", "お探しのページ", "指定されたページ", "このページは存在しません",
    "アクセスが拒否されました", "javascriptを有効にして", "ロボットではないこと", "페이지를 찾을 수 없습니다",
    "요청하신 페이지", "존재하지 않는 페이지", "접근이 거부", "자바스크립트를 활성화", "javascript를 활성화",
    "ไม่พบหน้า", "หน้าที่คุณต้องการ", "การเข้าถึงถูกปฏิเสธ", "โปรดเปิดใช้งาน javascript", "không tìm thấy trang",
    "trang bạn tìm kiếm", "trang không tồn tại", "truy cập bị từ chối", "vui lòng bật javascript",
    "halaman tidak ditemukan", "halaman yang anda cari", "akses ditolak", "aktifkan javascript",
)  # fmt: skip

PAYWALL = (
    # English
    "subscribe to continue reading", "subscribe to read", "subscribe now to continue",
    "subscribe now for full access", "subscribe to unlock", "already a subscriber",
    "already have an account?", "already a member?", "log in to continue reading",
    "sign in to continue reading", "register to continue reading", "create a free account to continue",
    "this article is for subscribers", "this article is only available to", "this content is for subscribers",
    "this content is only available to", "this story is for subscribers", "this is a subscriber-only",
    "exclusive to subscribers", "for subscribers only", "to continue reading this article",
    "to read the full article", "to read this article in full",
    "you have reached your limit of free articles", "you've reached your limit of free articles",
    "you have reached your article limit", "you have 0 free articles remaining",
    "you have read your last free article", "start your free trial", "cancel anytime",
    "become a member to read", "unlock this article", "get unlimited access",
    # German, Dutch
    "weiterlesen mit", "jetzt weiterlesen", "jetzt abonnieren", "sie sind bereits abonnent",
    "bereits abonnent", "sie haben bereits ein abo", "mit einem abo lesen", "dieser artikel ist exklusiv für",
    "dieser artikel ist nur für abonnenten", "diesen artikel lesen sie mit", "lesen sie diesen artikel mit",
    "monatlich kündbar", "jederzeit kündbar", "zugriff auf alle artikel", "lees verder met een abonnement",
    "dit artikel is alleen voor abonnees", "dit artikel is exclusief voor", "alleen voor abonnees",
    "word abonnee", "neem een abonnement", "al abonnee?", "ben je al abonnee", "log in om verder te lezen",
    "verder lezen?",
    # French, Italian
    "article réservé aux abonnés", "cet article est réservé", "la suite est réservée aux abonnés",
    "il vous reste 0% de cet article", "abonnez-vous pour lire", "pour lire la suite", "déjà abonné",
    "je m'abonne", "identifiez-vous pour lire", "articolo riservato agli abbonati",
    "contenuto riservato agli abbonati", "abbonati per continuare", "abbonati per leggere",
    "sei già abbonato", "per continuare a leggere",
    # Spanish, Portuguese
    "suscríbete para leer", "suscríbete para continuar", "suscríbete para seguir leyendo",
    "para seguir leyendo", "contenido exclusivo para suscriptores", "artículo exclusivo para suscriptores",
    "solo para suscriptores", "¿ya eres suscriptor", "ya soy suscriptor", "inicia sesión para continuar",
    "conteúdo exclusivo para assinantes", "artigo exclusivo para assinantes", "exclusivo para assinantes",
    "para continuar a ler", "para continuar lendo", "assine para ler", "já é assinante",
    # Scandinavian languages and Finnish
    "logga in för att läsa", "bli prenumerant", "redan prenumerant", "endast för prenumeranter",
    "för dig som är prenumerant", "logg inn for å lese", "bli abonnent", "er du allerede abonnent",
    "log ind for at læse", "kun for abonnenter", "har du allerede et abonnement", "lue koko artikkeli",
    "artikkeli on vain tilaajille", "tilaa ja lue", "oletko jo tilaaja",
    # Polish, Czech, Hungarian, Romanian
    "ten artykuł jest dostępny dla subskrybentów", "dostęp dla prenumeratorów", "kup dostęp",
    "masz już prenumeratę", "aby czytać dalej", "pouze pro předplatitele",
    "článek je pouze pro předplatitele", "chcete-li číst dál", "již mám předplatné", "csak előfizetőknek",
    "már előfizetőnk", "doar pentru abonați", "abonează-te pentru a citi",
    # Greek, Turkish, Russian, Ukrainian
    "μόνο για συνδρομητές", "γίνετε συνδρομητής", "abonelere özel", "devamını okumak için abone",
    "zaten abone misiniz", "материал доступен только подписчикам", "статья доступна только подписчикам",
    "оформите подписку, чтобы", "чтобы читать дальше", "уже есть подписка", "лише для передплатників",
    "оформіть передплату",
    # Arabic, Hebrew, Chinese, Japanese, Korean, Thai, Vietnamese, Indonesian
    "اشترك لقراءة", "هذا المحتوى للمشتركين فقط", "לקריאת הכתבה המלאה", "למנויים בלבד", "כבר מנוי",
    "订阅后继续阅读", "仅限订阅用户", "订阅以继续阅读", "登录后阅读全文", "訂閱後繼續閱讀", "僅限訂閱",
    "會員專屬", "この記事は有料会員限定", "有料会員限定", "会員限定記事", "ログインして続きを読む",
    "続きを読むには", "구독자 전용", "유료 회원 전용", "로그인 후 이용", "สำหรับสมาชิกเท่านั้น",
    "dành cho thuê bao", "đăng nhập để đọc tiếp", "khusus pelanggan", "berlangganan untuk membaca",
)  # fmt: skip

EMPTY = frozenset(
    (
        "null", "undefined", "none", "n/a", "nan", "loading", "loading...", "loading…", "please wait",
        "please wait...", "advertisement", "advertentie", "anzeige", "publicité", "publicidad", "publicidade",
        "pubblicità", "[removed]", "[deleted]", "no content", "content unavailable", "untitled", "share this",
        "reklama", "реклама", "广告", "廣告", "広告", "광고", "โฆษณา", "laden...", "wird geladen...",
        "chargement...", "cargando...", "carregando...", "caricamento...", "загрузка...", "加载中",
        "加载中...", "載入中", "読み込み中", "読み込み中...",
    )
)  # fmt: skip
"""Texts that are nothing else."""
